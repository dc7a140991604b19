package deploy

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	smallDiskKey = "ASTRA_WALK_SMALL_DISK" // the directory of one
	limitKey     = "ASTRA_WALK_LIMIT"      // a limit of files' sizes stands for it
)

// onSmallDisk reports whether this process has a small disk to fill. If not, it runs
// the test in one that has: a file system in memory, in namespaces of its own or,
// where these are not to be had, a limit of how long files may be.
func onSmallDisk(t *testing.T) bool {
	t.Helper()
	if dir := os.Getenv(smallDiskKey); dir != "" {
		if os.Getenv(limitKey) == "" {
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
				t.Fatalf("mount: %v", err)
			}
		}
		return true
	}
	dir := t.TempDir()
	again := func(env ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestWalk$/^A_disk_is_full$", "-test.v", "-test.timeout", "5m")
		cmd.Env = append(append(os.Environ(), smallDiskKey+"="+dir), env...)
		return cmd
	}
	apart := again()
	apart.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := apart.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || strings.Contains(string(out), "mount: ") {
		t.Logf("no namespaces: %v: a limit of sizes stands for a small disk", err)
		out, err = again(limitKey + "=1").CombinedOutput()
	}
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestWalk/A_disk_is_full") {
		t.Errorf("the process on a small disk: %v", err)
	}
	return false
}

var unlimited syscall.Rlimit

func fillDisk(t *testing.T, dir string) {
	t.Helper()
	if os.Getenv(limitKey) != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
			t.Fatal(err)
		}
		small := unlimited
		small.Cur = 16
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			t.Fatal(err)
		}
		return
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
}

func freeDisk(t *testing.T, dir string) {
	t.Helper()
	if os.Getenv(limitKey) != "" {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &unlimited); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		t.Fatal(err)
	}
}
