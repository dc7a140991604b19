package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEdit edits the file while the program runs, and reads what it says.
func TestEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(attempts string) {
		t.Helper()
		text := strings.Replace(string(policy), "maxAttempts: 3", "maxAttempts: "+attempts, 1)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("3")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	out, in := io.Pipe()
	defer func() { _ = out.Close() }()
	running.Go(func() { run(ctx, path, in) })
	says := bufio.NewScanner(out)
	for _, step := range []struct{ want, next string }{
		{"a call is tried 3 times", "5"},
		{"a call is tried 5 times", "2"},
		{"a call is tried 2 times", "2"},
	} {
		// A call that was in its way when the policy changed says 3 or 5, too.
		for says.Scan() && !strings.Contains(says.Text(), step.want) {
			t.Log(says.Text())
		}
		if err := says.Err(); err != nil || !strings.Contains(says.Text(), step.want) {
			t.Fatalf("%q, %v, want %s", says.Text(), err, step.want)
		}
		write(step.next)
	}
}
