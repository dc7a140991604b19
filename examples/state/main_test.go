package main

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTwoRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for i, calls := range []int{8, 1} { // the seventh failure opens
		var out strings.Builder
		if err := run(path, "127.0.0.1:1", &out); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if n := strings.Count(text, "\n"); n != calls || strings.Count(text, "breaker open") != 1 || !strings.Contains(text[strings.LastIndex(text, "call"):], "breaker open") {
			t.Errorf("run %d wrote\n%swant %d calls, the last refused", i+1, text, calls)
		}
	}
}

func TestNoSuchDirectory(t *testing.T) {
	var out strings.Builder
	if err := run(filepath.Join(t.TempDir(), "no", "state"), "127.0.0.1:1", &out); err == nil || out.Len() > 0 {
		t.Errorf("%v; it wrote %q", err, out.String())
	}
}
