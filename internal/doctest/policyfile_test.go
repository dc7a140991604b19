package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/metrics"
)

// policyFile is README's example.
func policyFile(t *testing.T) string {
	t.Helper()
	found := blocks(document(t, "README.md"), "yaml")
	if len(found) != 1 {
		t.Fatalf("README has %d YAML blocks, want the policy file", len(found))
	}
	return found[0]
}

func TestPolicyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte(policyFile(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	suite, err := fromFile(t.Context(), path, metrics.New())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = suite.Close() }()
	s := flakyserver.StartBuffer()
	defer s.Close()
	s.SetDown(flakyserver.Fail(codes.Unavailable, "down"))
	greeter := dial(t, s, suite.DialOptions()...)
	if _, err := hello(t, greeter); err == nil || attempts(s) != 4 {
		t.Errorf("%v after %d attempts, want the 4 of the policy file", err, attempts(s))
	}

	d, err := config.DecodeFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Policies()["/bank.Ledger/Transfer"].Retry.MaxAttempts; got != 1 {
		t.Errorf("the transfer is tried %d times", got)
	}
	for _, w := range d.Warnings() {
		t.Errorf("the example warns: %v", w.Error())
	}
}

// TestPolicyFileFaults: what README says is told of faults is what is told.
func TestPolicyFileFaults(t *testing.T) {
	readme := document(t, "README.md")
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
		if !strings.Contains(readme, "      "+strings.TrimSpace(line)+"\n") {
			t.Errorf("README does not tell this fault as it is told: %s", line)
		}
	}
}
