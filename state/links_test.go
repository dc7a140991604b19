//go:build unix

package state

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestLinksOfAnotherUser: who can put a link where a state file goes must not
// have the file that it leads to replaced, nor one in a directory it leads to.
func TestLinksOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("run it as root, who may give links away")
	}
	const other = 65534
	base := t.TempDir()
	victims, shared, theirs := filepath.Join(base, "victims"), filepath.Join(base, "shared"), filepath.Join(base, "theirs")
	for _, dir := range []string{victims, shared, theirs} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(theirs, other, other); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(victims, "state")
	write(t, victim, []byte("precious"))
	link := func(name, to string, owner int) string {
		t.Helper()
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(name, owner, owner); err != nil {
			t.Fatal(err)
		}
		return name
	}
	planted := link(filepath.Join(shared, "planted"), victim, other)
	for _, tc := range []struct {
		path    string
		refused bool
	}{
		{planted, true},
		{link(filepath.Join(shared, "own"), victim, 0), false},
		{link(filepath.Join(shared, "chain"), planted, 0), true},
		{link(filepath.Join(theirs, "file"), victim, other), true},
		{filepath.Join(link(filepath.Join(shared, "dir"), victims, other), "state"), true},
		{filepath.Join(link(filepath.Join(shared, "owndir"), victims, 0), "state"), false},
		{filepath.Join(link(filepath.Join(theirs, "current"), victims, other), "state"), false}, // its directory's owner made it
	} {
		s, err := File(tc.path)
		if refused := err != nil; refused != tc.refused {
			t.Errorf("%s: %v", tc.path, err)
		}
		if err != nil {
			if want := fmt.Sprintf("belongs to user %d: want one of this user or root, or the path it leads to", other); !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", tc.path, err, want)
			}
			continue
		}
		if got := s.(*store).path; got != real(t, victim) {
			t.Errorf("%s leads to %s", tc.path, got)
		}
		_ = s.Close()
	}
	if got := files(t, victim); string(read(t, victim)) != "precious" || !slices.Equal(got, []string{"state", "state.lock"}) {
		t.Errorf("beside the victim: %v", got)
	}
}

// real returns the path without links, as of a temporary directory.
func real(t testing.TB, path string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLinksAreFollowedOnce: a directory that is renamed, or a link that leads
// elsewhere later, does not part the file from its lock.
func TestLinksAreFollowedOnce(t *testing.T) {
	base := real(t, t.TempDir())
	for _, name := range []string{"one/x", "two"} {
		if err := os.MkdirAll(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(base, "current")
	if err := os.Symlink("one/x/../x", link); err != nil {
		t.Fatal(err)
	}
	suite := newSuite(t, mustFile(t, filepath.Join(link, "state")))
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("two", link); err != nil {
		t.Fatal(err)
	}
	if err := suite.Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Join(base, "one/x/state")); !slices.Equal(got, []string{"state", "state.lock"}) {
		t.Errorf("the file is not with its lock: %v", got)
	}
	loop := filepath.Join(base, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if _, err := File(loop); err == nil || !strings.Contains(err.Error(), "too many symbolic links") {
		t.Errorf("%v of a link to itself", err)
	}
}

// TestPlantedAfterwards: what takes the file's place between File and New is
// neither followed nor waited for.
func TestPlantedAfterwards(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "state"), filepath.Join(dir, "victim")
	precious := encoded(t, sample, time.Now())
	write(t, victim, precious)
	for name, plant := range map[string]func() error{
		"link": func() error { return os.Symlink(victim, path) },
		"pipe": func() error { return syscall.Mkfifo(path, 0o600) },
	} {
		s := mustFile(t, path)
		if err := plant(); err != nil {
			t.Fatal(err)
		}
		var told notices
		suite, err := interceptors.New(interceptors.WithStore(s), interceptors.WithObserver(&told), new(lines).option())
		if err != nil {
			t.Fatal(err)
		}
		if err := suite.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := told.results(observe.StateRestored); !slices.Equal(got, []string{"failed"}) {
			t.Errorf("%s: restored: %v", name, got)
		}
		if !bytes.Equal(read(t, victim), precious) {
			t.Errorf("%s: the victim has changed", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
