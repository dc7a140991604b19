//go:build unix

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many symbolic links a path may lead through, as on Linux.
const maxLinks = 40

// follow returns the path without symbolic links that an absolute one leads to.
// Its last element need not exist. It checks each link, which the kernel does
// for some alone, and not when they are read one by one.
func follow(path string) (string, error) {
	dir, links := "/", 0
	for rest := elements(path); len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		if element == ".." {
			dir = filepath.Dir(dir)
			continue
		}
		name := filepath.Join(dir, element)
		info, err := os.Lstat(name)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 { // what is wrong with it is found later
			dir = name
			continue
		}
		if links++; links > maxLinks {
			return "", errors.New("leads through too many symbolic links")
		}
		if err := trust(name, info, len(rest) == 0); err != nil {
			return "", err
		}
		to, err := os.Readlink(name)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(to) {
			dir = "/"
		}
		rest = append(elements(to), rest...)
	}
	return dir, nil
}

// elements splits a path. It keeps "..", which must not be resolved before the
// links in front of it.
func elements(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(e string) bool { return e == "" || e == "." })
}

// trust returns an error for a link that may have been put there to have another
// file replaced. One to a directory, such as that of the current release, may
// also belong to the owner of the directory it is in, who decides what is there.
func trust(name string, link fs.FileInfo, last bool) error {
	owner, known := ownerOf(link)
	if !known || owner == 0 || owner == os.Geteuid() {
		return nil
	}
	if !last {
		if dir, err := os.Stat(filepath.Dir(name)); err == nil {
			if of, _ := ownerOf(dir); of == owner {
				return nil
			}
		}
	}
	return fmt.Errorf("symbolic link %s belongs to user %d: want one of this user or root, or the path it leads to", name, owner)
}

func ownerOf(info fs.FileInfo) (uid int, known bool) {
	sys, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return int(sys.Uid), true
}
