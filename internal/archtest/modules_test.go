package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNestedModuleIsInstallable: users of a nested module get what its go.mod
// requires, as replace directives count in the main module alone. A version that
// stands for nothing cannot be had.
func TestNestedModuleIsInstallable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "state", "redis", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(strings.TrimSuffix(module, "/")) + ` (v\S+)$`).FindSubmatch(text)
	if required == nil {
		t.Fatal("state/redis/go.mod requires no version of the module")
	}
	version := string(required[1])
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(version) || version == "v0.0.0" {
		t.Errorf("state/redis/go.mod requires %s: want the version it is released with", version)
	}
	guide, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{" " + version + " ", " state/redis/" + version + " "} {
		if !strings.Contains(string(guide), "git tag -s"+tag) {
			t.Errorf("CONTRIBUTING.md does not say to tag%s, which users of state/redis need", tag)
		}
	}
}
