package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mostTold is how often comments may say tell, told or tells, in a thousand words.
const mostTold = 0.2

// TestWordsOfComments: what reports, emits, logs and returns must not be said to tell.
func TestWordsOfComments(t *testing.T) {
	comment := regexp.MustCompile(`(?m)//(.*)$`)
	tell := regexp.MustCompile(`\b(tell|told|tells|telling)\b`)
	words, told := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range comment.FindAllStringSubmatch(string(text), -1) {
			words += len(strings.Fields(m[1]))
			told += len(tell.FindAllString(m[1], -1))
		}
		return nil
	})
	if err != nil || words < 10_000 {
		t.Fatalf("%d words of comments seen, %v: the test looks in the wrong place", words, err)
	}
	if share := 1000 * float64(told) / float64(words); share > mostTold {
		t.Errorf("comments say tell, told or tells %.2f times in a thousand words, want at most %.1f", share, mostTold)
	}
}
