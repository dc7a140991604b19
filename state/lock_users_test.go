//go:build unix

package state

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/astra-grpc/astra/interceptors"
)

func init() { roles["save-once"] = saveOnce }

// saveOnce prints what Close returns.
func saveOnce() {
	suite, err := interceptors.New(interceptors.WithStore(mine()), new(lines).option())
	must(err)
	say(fmt.Sprint("closed: ", suite.Close()))
}

// TestLockModeFollowsDirectory: whoever may write to the directory may open the
// lock, whatever the umask; nobody else, who could hold it to do harm.
func TestLockModeFollowsDirectory(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for _, tc := range []struct{ dir, lock fs.FileMode }{
		{0o700, 0o600}, {0o755, 0o600}, {0o770, 0o644}, {0o2770, 0o644}, {0o707, 0o644}, {0o777, 0o644},
	} {
		dir := t.TempDir()
		if err := syscall.Chmod(dir, uint32(tc.dir)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "state")
		_ = mustFile(t, path).Close()
		info, err := os.Stat(path + ".lock")
		if err != nil || info.Mode() != tc.lock {
			t.Errorf("directory %v: the lock is %v, %v; want %v", tc.dir, info.Mode(), err, tc.lock)
		}
	}
}

// TestLockOfAnotherUser: a directory that a group may write to, as a volume of
// Kubernetes with an fsGroup, outlives the user that its first program ran as.
func TestLockOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("run it as root, who may become two users")
	}
	const group = 5000
	dir := t.TempDir()
	shared, program := filepath.Join(dir, "shared"), filepath.Join(dir, "program")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code := read(t, exe)
	for _, err := range []error{
		os.Chmod(filepath.Dir(dir), 0o711), os.Chmod(dir, 0o711), // or another user would not get there
		os.WriteFile(program, code, 0o755), // #nosec G306
		os.Mkdir(shared, 0o770), os.Chown(shared, 0, group), syscall.Chmod(shared, 0o2770),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(shared, "state")
	as := func(uid uint32) string {
		t.Helper()
		c := startChild(t, "save-once", path, func(c *exec.Cmd) {
			c.Path, c.Dir = program, "/"
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: group}}
		})
		var out strings.Builder
		for c.out.Scan() {
			out.WriteString(c.out.Text())
		}
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, uid := range []uint32{5001, 5002, 5001} {
		if got := as(uid); got != "closed: <nil>" {
			t.Errorf("user %d: %s", uid, got)
		}
	}
	if err := os.Chmod(path+".lock", 0o600); err != nil { // as under an umask of another program
		t.Fatal(err)
	}
	if got := as(5002); !strings.Contains(got, path+".lock") || !strings.Contains(got, "let this user read it, or remove it while no process uses the state") {
		t.Errorf("of a lock that cannot be opened: %s", got)
	}
}
