//go:build unix

package state

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestHolderOfAnotherNamespace: process numbers say nothing about a holder in
// another container, which may have this process' own.
func TestHolderOfAnotherNamespace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	c := startChild(t, "hold", path)
	if !c.out.Scan() {
		t.Fatalf("the process ended by itself: %v", c.Wait())
	}
	write(t, path+".lock", []byte(strconv.Itoa(os.Getpid())+"\n"))
	want := fmt.Sprintf("state: path %q: is in use by another process: use a file for each process", path)
	if _, err := File(path); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	_ = c.in.Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	_ = mustFile(t, path).Close()
}

// TestHolderIsThisProcess: a second store is found under every name of the file.
func TestHolderIsThisProcess(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	s := mustFile(t, path)
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(dir, alias); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, filepath.Join(alias, "state")} {
		if _, err := File(name); err == nil || !strings.Contains(err.Error(), "is in use by another store of this process: use a file for each store") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_ = mustFile(t, path).Close()
}

// TestLockOfAnotherKind: what is planted where the lock goes holds nothing up.
func TestLockOfAnotherKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := exec.Command("mkfifo", path+".lock").Run(); err != nil {
		t.Skip(err)
	}
	var log lines
	suite := newSuite(t, mustFile(t, path), log.option())
	if err := suite.Close(); err == nil || !strings.Contains(err.Error(), path+".lock") || !strings.Contains(err.Error(), "want a regular file") {
		t.Errorf("saved without its lock: %v", err)
	}
}
