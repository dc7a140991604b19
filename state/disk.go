package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// disk is what the store does to its directory. Tests have one that fails, or
// loses power.
type disk interface {
	Read(name string) ([]byte, error) // at most a byte more than maxSize
	Create(name string) (file, error) // which must not exist
	Exists(name string) bool
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(name string) error
}

type file interface {
	io.WriteCloser
	Sync() error
}

type realDisk struct{}

func (realDisk) Read(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unfollowed, 0) // whatever has been put there since
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("file has the type %v: want a regular file", info.Mode().Type())
	}
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

func (realDisk) Create(name string) (file, error) {
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (realDisk) Exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}

func (realDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (realDisk) Remove(name string) error     { return os.Remove(name) }

func (realDisk) SyncDir(name string) error {
	if runtime.GOOS == "windows" { // does not know that
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// replace puts data in the place of a file. Whenever it is broken off, there is
// the old content or the new, whole.
func replace(d disk, path string, data []byte) (err error) {
	next := path + ".new"
	if err := d.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a crash
		return err
	}
	f, err := d.Create(next)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = d.Remove(next)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.Rename(next, path); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// maxRejected bounds the files set aside.
const maxRejected = 100

// setAside renames a file that cannot be used to the first name that is free,
// or else to the last, and returns it. What came first is kept, as it may be
// another program's; what comes again and again must not end saving.
func setAside(d disk, path string) (name string, err error) {
	for n := range maxRejected {
		name = fmt.Sprintf("%s.rejected-%d", path, n+1)
		if !d.Exists(name) {
			break
		}
	}
	if err := d.Rename(path, name); err != nil {
		return "", err
	}
	return name, d.SyncDir(filepath.Dir(path))
}
