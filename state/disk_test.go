package state

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fakeDisk is a directory in memory. It can refuse what it is asked to do, hang,
// and lose power.
type fakeDisk struct {
	mu      sync.Mutex
	names   map[string]*inode // as programs see them
	durable map[string]*inode // as they are found after a loss of power
	ops     []string
	refuse  func(op string) error // nil: nothing
	hang    chan struct{}         // if not nil, syncing waits until it is closed
}

type inode struct{ data, durable []byte }

func newFakeDisk() *fakeDisk {
	return &fakeDisk{names: map[string]*inode{}, durable: map[string]*inode{}}
}

// put makes a file that has been there for long.
func (d *fakeDisk) put(name string, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := &inode{data, data}
	d.names[name], d.durable[name] = i, i
}

func (d *fakeDisk) get(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := d.names[name]; i != nil {
		return i.data
	}
	return nil
}

func (d *fakeDisk) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.names))
}

// do notes an operation, with mu held, and refuses it if it is to be.
func (d *fakeDisk) do(op, name string) error {
	op += " " + filepath.Base(name)
	d.ops = append(d.ops, op)
	if d.refuse != nil {
		if err := d.refuse(op); err != nil {
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
	return nil
}

func (d *fakeDisk) count(op string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.ops {
		if o == op {
			n++
		}
	}
	return n
}

func (d *fakeDisk) Read(name string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do("read", name); err != nil {
		return nil, err
	}
	i := d.names[name]
	if i == nil {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(i.data), nil
}

func (d *fakeDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do("create", name); err != nil {
		return nil, err
	}
	if d.names[name] != nil {
		return nil, fs.ErrExist
	}
	i := &inode{}
	d.names[name] = i
	return &fakeFile{d, i, name}, nil
}

func (d *fakeDisk) Exists(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.names[name] != nil
}

func (d *fakeDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do("rename", from); err != nil {
		return err
	}
	if d.names[from] == nil {
		return fs.ErrNotExist
	}
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *fakeDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do("remove", name); err != nil {
		return err
	}
	if d.names[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.names, name)
	return nil
}

func (d *fakeDisk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.do("sync", name); err != nil {
		return err
	}
	d.durable = maps.Clone(d.names)
	return nil
}

type fakeFile struct {
	disk *fakeDisk
	*inode
	name string
}

func (f *fakeFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.do("write", f.name); err != nil {
		half := len(p) / 2 // a full disk takes what fits
		f.data = append(f.data, p[:half]...)
		return half, err
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *fakeFile) Sync() error {
	if f.disk.hang != nil {
		<-f.disk.hang
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.do("sync", f.name); err != nil {
		return err
	}
	f.durable = bytes.Clone(f.data)
	return nil
}

func (f *fakeFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.do("close", f.name)
}

const somewhere = "/dir/state"

var errPower = errors.New("power is gone")

// TestLossOfPower: at whatever step, what is found afterwards is the old
// content or the new; once replace has returned, the new. What was written
// to a directory and not synced may be found or not.
func TestLossOfPower(t *testing.T) {
	before, after := []byte("old"), []byte("new")
	for step := 0; ; step++ {
		d := newFakeDisk()
		d.put(somewhere, before)
		d.put(somewhere+".new", []byte("left by a crash"))
		n := 0
		d.refuse = func(string) error {
			n++
			if n > step {
				return errPower
			}
			return nil
		}
		err := replace(d, somewhere, after)
		for entries, found := range map[string]map[string]*inode{"synced": d.durable, "all": d.names} {
			switch i := found[somewhere]; {
			case i == nil:
				t.Errorf("step %d, %s entries: the file is gone", step, entries)
			case err == nil && !bytes.Equal(i.durable, after):
				t.Errorf("step %d, %s entries: replaced, and %q is found", step, entries, i.durable)
			case !bytes.Equal(i.durable, before) && !bytes.Equal(i.durable, after):
				t.Errorf("step %d, %s entries: neither the old nor the new but %q is found", step, entries, i.durable)
			}
		}
		if err == nil {
			if step < 5 {
				t.Fatalf("only %v", d.ops)
			}
			break
		}
		if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
	}
}

// TestRefusedSteps: whatever fails, the old content stays, nothing is left
// behind, and the next time succeeds.
func TestRefusedSteps(t *testing.T) {
	d := newFakeDisk()
	d.put(somewhere, []byte("old"))
	if err := replace(d, somewhere, []byte("old")); err != nil {
		t.Fatal(err)
	}
	for _, step := range slices.Clone(d.ops) {
		if step == "sync dir" {
			continue // after which it is the new, if not durably
		}
		d.refuse = func(op string) error {
			if op == step {
				return syscall.ENOSPC
			}
			return nil
		}
		if err := replace(d, somewhere, []byte("new")); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), somewhere) {
			t.Errorf("%s: %v", step, err)
		}
		if got := d.get(somewhere); string(got) != "old" || len(d.list()) != 1 {
			t.Errorf("%s: %q beside %v", step, got, d.list())
		}
		d.refuse = nil
		if err := replace(d, somewhere, []byte("old")); err != nil {
			t.Errorf("after %s: %v", step, err)
		}
	}
	d.refuse = func(op string) error {
		if op == "sync dir" {
			return syscall.EIO
		}
		return nil
	}
	if err := replace(d, somewhere, []byte("new")); !errors.Is(err, syscall.EIO) {
		t.Errorf("%v of a directory that could not be synced", err)
	}
}
