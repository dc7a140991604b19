package doctest

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/astra-grpc/astra/config"
)

const policyPage = "docs/policy-file.md"

// TestPolicyFilesAreValid: every policy file of a document is one, and warns of
// nothing.
func TestPolicyFilesAreValid(t *testing.T) {
	found := 0
	for _, file := range documents {
		for _, block := range blocks(document(t, file), "yaml") {
			if !regexp.MustCompile(`^(methodConfig|balancing|chaos):`).MatchString(block) {
				continue
			}
			found++
			d, err := config.Decode([]byte(block))
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			for _, w := range d.Warnings() {
				t.Errorf("%s warns: %v", file, w.Error())
			}
		}
	}
	if found < 3 {
		t.Errorf("%d policy files found: the test reads the documents wrongly", found)
	}
}

// TestPolicyFile: the page's example means what its comments say.
func TestPolicyFile(t *testing.T) {
	d, err := config.Decode([]byte(policyFile(t)))
	if err != nil {
		t.Fatal(err)
	}
	p := d.Policies()
	for pattern, want := range map[string]int{"/helloworld.Greeter/*": 4, "/bank.Ledger/Transfer": 1, "*": 0} {
		if got, ok := p[pattern]; !ok || got.Retry.MaxAttempts != want {
			t.Errorf("%s has %d attempts, want %d", pattern, got.Retry.MaxAttempts, want)
		}
	}
}

// policyFile is the first example of the page.
func policyFile(t *testing.T) string {
	t.Helper()
	found := blocks(document(t, policyPage), "yaml")
	if len(found) == 0 {
		t.Fatalf("%s has no YAML block", policyPage)
	}
	return found[0]
}

// TestPolicyFileFaults: the page shows faults as they are reported.
func TestPolicyFileFaults(t *testing.T) {
	page := document(t, policyPage)
	text := strings.NewReplacer("maxAttempts: 4", "maxAttempts: 1", "breaker:", "braker:").Replace(policyFile(t))
	t.Chdir(t.TempDir())
	if err := os.WriteFile("policy.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load("policy.yaml")
	if err == nil {
		t.Fatal("no faults")
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.Contains(page, strings.TrimSpace(line)+"\n") {
			t.Errorf("%s does not show this fault as it is reported: %s", policyPage, line)
		}
	}
}
