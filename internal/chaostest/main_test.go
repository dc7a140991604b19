//go:build unix

package chaostest

import (
	"flag"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	long = flag.Duration("long", 0, "play random faults for so long, too")
	seed = flag.Uint64("seed", 0, "seed of calls and faults; 0: a new one, which is logged")
)

// TestMain runs the tests, or the server that a test has started as a process.
func TestMain(m *testing.M) {
	if os.Getenv(serverKey) != "" {
		serve()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func seedOf(t *testing.T) uint64 {
	t.Helper()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("to play this again: -seed %d -run '^%s$'", s, t.Name())
	return s
}
