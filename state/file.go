package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// File returns a store that keeps a suite's state in a file, for the next
// process. Give it to one suite, by [interceptors.WithStore].
//
// The error names the path and its fault: it is empty or not a regular file;
// its directory does not exist; another user may have planted a symbolic link
// in it; another process, or another store of this one, uses it. A file that
// cannot be read or written, or whose content is invalid, is no error: see the
// package's documentation.
func File(path string) (interceptors.Store, error) {
	real, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("state: path %q: %w", path, err)
	}
	return open(real, realDisk{}, time.Now)
}

// resolve returns the absolute path of a file that exists or may be made.
func resolve(path string) (string, error) {
	if path == "" {
		return "", errors.New("is empty: want the name of a file")
	}
	path, err := filepath.Abs(path) // for programs that change their directory
	if err != nil {
		return "", err
	}
	named := path
	// It is the file that is replaced, not a link to it; and it stays where its
	// lock is, wherever links lead later.
	if path, err = follow(named); err != nil {
		return "", err
	}
	if _, missing := os.Lstat(path); errors.Is(missing, fs.ErrNotExist) {
		if _, err := os.Lstat(named); err == nil {
			return "", fmt.Errorf("is a symbolic link to no file: %w", missing)
		}
	}
	if err := mayBeFile(path); err != nil {
		return "", err
	}
	switch info, err := os.Stat(filepath.Dir(path)); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("its directory %s does not exist", filepath.Dir(path))
	case err == nil && !info.IsDir():
		return "", fmt.Errorf("its parent %s is not a directory", filepath.Dir(path))
	}
	return path, nil
}

// mayBeFile returns what keeps a path from being that of a regular file.
func mayBeFile(path string) error {
	switch info, err := os.Lstat(path); {
	case err == nil && info.IsDir():
		return errors.New("is a directory: want a file")
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("has the type %v: want a regular file", info.Mode().Type())
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission):
		return err
	}
	return nil
}

// store is a suite's state in a file. All it does to the file, once attached,
// is done by one goroutine.
type store struct {
	path string
	disk disk
	now  func() time.Time // by the wall

	live interceptors.StoreHandle
	wake chan struct{} // a breaker has changed
	stop chan struct{}
	done chan struct{}

	mu       sync.Mutex // guards what follows
	attached bool
	closed   bool

	ending sync.Once
	err    error // of Close

	// What follows is the goroutine's, once there is one.
	release func()             // of the lock; nil: not had yet
	reject  error              // why the file is to be set aside; nil: it is not
	saved   interceptors.State // what the file holds
	tried   time.Time          // when it was last written, or was to be
	fault   error              // why it could not be; nil: it could
}

func open(path string, d disk, now func() time.Time) (*store, error) {
	s := &store{path: path, disk: d, now: now,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	release, err := lock(s.lockName())
	if held := (heldError{}); errors.As(err, &held) {
		return nil, fmt.Errorf("state: path %q: %w", path, held)
	}
	// If there is another reason, nothing can be saved: that is for the suite's
	// logger, which is not known yet, and may change until then.
	s.release = release
	return s, nil
}

func (s *store) lockName() string { return s.path + ".lock" }

// Attach implements [interceptors.Store].
func (s *store) Attach(l interceptors.StoreHandle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return fmt.Errorf("state: path %q: store is closed: open a new one for each suite", s.path)
	case s.attached:
		return fmt.Errorf("state: path %q: store is attached to another suite: open one for each suite", s.path)
	}
	s.attached, s.live = true, l
	s.restore()
	go s.run()
	return nil
}

// Changed implements [interceptors.Store].
func (s *store) Changed(interceptors.Change) {
	select {
	case s.wake <- struct{}{}:
	default: // it will see this change too
	}
}

// closeFor is how long Close waits for a disk that does not answer.
const closeFor = 5 * time.Second

// Close implements [interceptors.Store]. It returns why the state could not be
// saved.
func (s *store) Close() error {
	s.ending.Do(func() {
		s.mu.Lock()
		s.closed = true
		attached := s.attached
		s.mu.Unlock()
		close(s.stop)
		if !attached {
			s.unlock()
			return
		}
		limit := time.NewTimer(closeFor)
		defer limit.Stop()
		select {
		case <-s.done:
			s.err = s.fault
		case <-limit.C:
			s.err = fmt.Errorf("state: path %q: state not saved within %v", s.path, closeFor)
		}
	})
	return s.err
}
