package testing

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrokenPoliciesAreFound runs each of the tests with a file in which what it
// is about is wrong: it must fail, and say so.
func TestBrokenPoliciesAreFound(t *testing.T) {
	good, err := os.ReadFile("policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ test, old, broken, want string }{
		{"TestMyLedgerIsNeverCalledTwice", "astra:\n", "astra:\n    retry: {}\n", "transfers may have run twice"},
		{"TestMySearchSurvivesOneBadBackendOfThree", "maxAttempts: 7", "maxAttempts: 1", "of searches succeeded, want 99 %"},
		{"TestMyPoliciesRecoverFromAnOutage", "openFor: 0.25s, maxOpenFor: 0.5s", "openFor: 30s, probeShare: 0.000001", "want 1 s"},
	} {
		t.Run(c.test, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(string(good), c.old, c.broken, 1)
			if text == string(good) {
				t.Fatalf("%q is not in policy.yaml", c.old)
			}
			path := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			self := exec.Command(os.Args[0], "-test.run=^"+c.test+"$", "-test.v")
			self.Env = append(os.Environ(), "POLICY="+path)
			out, err := self.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: "+c.test) || !strings.Contains(string(out), c.want) {
				t.Errorf("with a broken policy the test ended with %v and wrote\n%s\nwant it to fail with %q", err, out, c.want)
			}
		})
	}
}
