package config_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/astra-grpc/astra/config"
)

func TestTrail(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	in := func(path string) string { return filepath.Join(root, path) }
	must(t, os.MkdirAll(in("real/dir"), 0o700))
	write(t, in("real/dir/file"), "")
	must(t, os.Symlink("real", in("link")))
	must(t, os.Symlink(in("link/dir"), in("absolute")))
	must(t, os.Symlink("../link/./dir/file", in("real/up")))
	must(t, os.Symlink("loop", in("loop")))
	must(t, os.Symlink("nowhere", in("dangling")))
	for path, want := range map[string][]string{
		"real/dir/file":    {"real/dir/file"},
		"link/dir/file":    {"link", "real/dir/file"},
		"absolute/file":    {"absolute", "link", "real/dir/file"},
		"real/up":          {"real/up", "link", "real/dir/file"},
		"real/none":        {"real/none"},
		"none/at/all":      {"none"},
		"dangling":         {"dangling", "nowhere"},
		"real/dir/../up":   {"real/up", "link", "real/dir/file"},
		"real/dir":         {"real/dir"},
		"real/dir/file/no": {"real/dir/file/no"},
	} {
		var full []string
		for _, w := range want {
			full = append(full, in(w))
		}
		if got := config.Trail(in(path)); !reflect.DeepEqual(got, full) {
			t.Errorf("%s leads through %v, want %v", path, got, full)
		}
	}
	if got := config.Trail(in("loop")); len(got) < 40 || got[0] != in("loop") { // ends
		t.Errorf("a loop leads through %v", got)
	}
}
