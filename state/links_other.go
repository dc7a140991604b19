//go:build !unix

package state

import (
	"io/fs"
	"os"
	"path/filepath"
)

// follow returns the path of the file that a symbolic link leads to. Links have
// no owner here.
func follow(path string) (string, error) {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, nil
	}
	return filepath.EvalSymlinks(path)
}
