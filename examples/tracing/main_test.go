package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTraceIsPrinted(t *testing.T) {
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = w
	synctest.Test(t, func(*testing.T) { main() })
	_ = w.Close()
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(out), "\n")
	for i, want := range []string{
		"Sent.helloworld.Greeter.SayHello ",
		`  - backoff [{"astra.attempt":1} {"astra.backoff_ms":`,
		`  - backoff [{"astra.attempt":2} {"astra.backoff_ms":150} {"rpc.grpc.status_code":14}]`,
		"  Attempt.helloworld.Greeter.SayHello 20ms Error UNAVAILABLE",
		"  Attempt.helloworld.Greeter.SayHello 0s Error UNAVAILABLE",
		"  Attempt.helloworld.Greeter.SayHello 0s Ok ",
		"the caller sees: <nil>",
	} {
		if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
			t.Fatalf("line %d of\n%swant %q", i+1, out, want)
		}
	}
}
