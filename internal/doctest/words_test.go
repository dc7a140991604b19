package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mostTold is how often comments, and pages of docs, may say tell, told or tells, in a
// thousand words.
const mostTold = 0.2

var (
	tell = regexp.MustCompile(`(?i)\b(tell|told|tells|telling)\b`)
	// avoided are other words of the glossary in CONTRIBUTING, for pages.
	avoided = regexp.MustCompile(`(?i)\b(mend|mends|mended|befalls?|hearsay|not to be had|but for)\b`)
)

// TestWordsOfComments: what reports, emits, logs and returns must not be said to tell.
func TestWordsOfComments(t *testing.T) {
	comment := regexp.MustCompile(`(?m)//(.*)$`)
	var text strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, ".pb.go") {
			return err
		}
		code, err := os.ReadFile(path)
		for _, m := range comment.FindAllStringSubmatch(string(code), -1) {
			text.WriteString(m[1] + "\n")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	wantFewTold(t, "comments", text.String())
}

// TestWordsOfPages: the same, and the glossary of CONTRIBUTING, which has the words
// itself.
func TestWordsOfPages(t *testing.T) {
	var text strings.Builder
	for _, page := range documents {
		if page == "CONTRIBUTING.md" {
			continue
		}
		prose := document(t, page)
		text.WriteString(prose)
		for _, word := range avoided.FindAllString(prose, -1) {
			t.Errorf("%s says %q: the glossary in CONTRIBUTING has another word", page, word)
		}
	}
	wantFewTold(t, "pages", text.String())
}

func wantFewTold(t *testing.T, what, text string) {
	t.Helper()
	words, told := len(strings.Fields(text)), len(tell.FindAllString(text, -1))
	if words < 10_000 {
		t.Fatalf("%d words of %s seen: the test looks in the wrong place", words, what)
	}
	if share := 1000 * float64(told) / float64(words); share > mostTold {
		t.Errorf("%s say tell, told or tells %.2f times in a thousand words, want at most %.1f", what, share, mostTold)
	}
}
