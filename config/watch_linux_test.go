package config_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astra-grpc/astra/config"
)

// TestNothingIsLeft: no goroutine (see TestMain) and no handle, whether Watch
// returns an error or its context ends.
func TestNothingIsLeft(t *testing.T) {
	handles := func() (n int) { // of notifications
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		for _, fd := range all {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.Contains(to, "inotify") {
				n++
			}
		}
		return n
	}
	await := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); handles() != want; {
			if time.Now().After(deadline) {
				t.Fatalf("%d handles, want %d", handles(), want)
			}
			runtime.Gosched()
		}
	}
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	write(t, good, attempts(2))
	write(t, bad, broken)
	w := newWatched(t, good)
	await(0) // those of other tests are closed
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		if err := config.Watch(t.Context(), bad, w.suite); err == nil {
			t.Fatal("no error")
		}
		must(t, config.Watch(ctx, good, w.suite))
	}
	await(20)
	cancel()
	await(0)
}

// TestPipe: one that nobody writes to is not waited for.
func TestPipe(t *testing.T) {
	path := inFolder(t)
	must(t, syscall.Mkfifo(path, 0o600))
	done := make(chan error)
	go func() {
		_, err := config.Load(path)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("waits for a pipe")
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // lets it end
		must(t, err)
		must(t, f.Close())
		<-done
	}
}
