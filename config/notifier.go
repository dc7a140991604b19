package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// notifier reports changes of what a path leads through. A nil one reports
// nothing.
type notifier struct {
	*fsnotify.Watcher
	trail []string // what decides which file the path names
	dirs  []string // where those are: these are watched
}

func newNotifier() (*notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notifier{Watcher: w}, nil
}

func (n *notifier) events() <-chan fsnotify.Event {
	if n == nil {
		return nil
	}
	return n.Events
}

func (n *notifier) errors() <-chan error {
	if n == nil {
		return nil
	}
	return n.Errors
}

func (n *notifier) close() {
	if n != nil {
		_ = n.Close() // nothing is to be done about it
	}
}

// concerns reports whether an event may have changed the file, or which file it
// is.
func (n *notifier) concerns(e fsnotify.Event) bool {
	return slices.Contains(n.trail, e.Name) || slices.Contains(n.dirs, e.Name)
}

// follow watches the folders that a path leads through, and no others. What
// changes meanwhile is followed, too.
func (n *notifier) follow(path string) error {
	const most = 10
	var errs error
	for range most {
		n.trail = trail(path)
		before := n.dirs
		n.dirs = nil
		errs = nil
		for _, at := range n.trail {
			if dir := filepath.Dir(at); !slices.Contains(n.dirs, dir) {
				// Added again and again: a folder may be another of the same
				// name.
				if err := n.Add(dir); err != nil {
					errs = errors.Join(errs, err)
				}
				n.dirs = append(n.dirs, dir)
			}
		}
		for _, dir := range before {
			if !slices.Contains(n.dirs, dir) {
				_ = n.Remove(dir) // may be gone, and with it its watch
			}
		}
		if slices.Equal(n.trail, trail(path)) {
			break
		}
	}
	return errs
}

// trail returns the places that decide which file an absolute path names: each
// symbolic link on the way, each given in a folder that is none, and the file at
// the end, or the first part of the way that is not there.
func trail(path string) (places []string) {
	const most = 40 // links, as in Linux
	var (
		at   = filepath.VolumeName(path) + string(filepath.Separator)
		rest = parts(path[len(at):])
	)
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err != nil || len(rest) == 0 && info.Mode()&os.ModeSymlink == 0 {
			return append(places, next)
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		places = append(places, next)
		target, err := os.Readlink(next)
		if links++; err != nil || links > most {
			return places
		}
		if filepath.IsAbs(target) {
			at = filepath.VolumeName(target) + string(filepath.Separator)
			target = target[len(at):]
		}
		rest = append(parts(target), rest...)
	}
	return places
}

func parts(path string) []string {
	return slices.DeleteFunc(strings.Split(filepath.ToSlash(path), "/"), func(s string) bool { return s == "" || s == "." })
}
