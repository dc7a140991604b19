package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
)

// heldError says that the lock is another's.
type heldError struct{ here bool } // in this process

func (e heldError) Error() string {
	if e.here {
		return "is in use by another store of this process: use a file for each store"
	}
	return "is in use by another process: use a file for each process"
}

// locks are those that this process holds. A number written to the file would
// not say whose it is: in containers, each program is process 1.
var locks struct {
	sync.Mutex
	held map[*flock.Flock]fs.FileInfo
}

// lock takes the file of that name for this process, until it ends or releases
// it. If another has it, the error is a [heldError]. Where there are no locks,
// it keeps nobody out. The file stays behind: were it removed, two could hold
// files of one name.
func lock(name string) (release func(), err error) {
	l, err := tryLock(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createLock(name); err == nil || errors.Is(err, fs.ErrExist) { // by another, meanwhile
			l, err = tryLock(name)
		}
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return func() {}, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("lock: %w: let this user read it, or remove it while no process uses the state", err)
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() {
		locks.Lock()
		delete(locks.held, l)
		locks.Unlock()
		_ = l.Close()
	}, nil
}

// tryLock locks a file that exists. One that may only be read can be locked as
// well, except on some systems.
func tryLock(name string) (l *flock.Flock, err error) {
	var locked bool
	for _, access := range []int{os.O_RDWR, os.O_RDONLY} {
		l = flock.New(name, flock.SetFlag(access|unfollowed))
		if locked, err = l.TryLock(); !errors.Is(err, fs.ErrPermission) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	locks.Lock()
	defer locks.Unlock()
	if !locked {
		return nil, heldHereLocked(name)
	}
	info, err := l.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("has the type %v: want a regular file", info.Mode().Type())
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	if locks.held == nil {
		locks.held = map[*flock.Flock]fs.FileInfo{}
	}
	locks.held[l] = info
	return l, nil
}

// heldHereLocked returns the error of a lock that cannot be had.
func heldHereLocked(name string) heldError {
	if info, err := os.Lstat(name); err == nil {
		for _, other := range locks.held {
			if os.SameFile(info, other) {
				return heldError{here: true}
			}
		}
	}
	return heldError{}
}

// createLock makes the file. Whoever may write to the directory must be able to
// open it, whatever the umask: the next program there may run as another user.
// Nobody else may: whoever can read a file can hold its lock, for ever.
func createLock(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if dir, err := os.Stat(filepath.Dir(name)); err == nil && dir.Mode().Perm()&0o022 != 0 {
		_ = f.Chmod(0o644) // unknown to some file systems, which is no reason to stop
	}
	return f.Close()
}
