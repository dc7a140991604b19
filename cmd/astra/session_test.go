package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSession: the session in docs/command.md is what its script prints.
func TestSession(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command")
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(bin, "astra"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := exec.Command(sh, "session.sh")
	c.Dir = "testdata"
	c.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const path, begin, end = "../../docs/command.md", "<!-- session -->\n```console\n", "```\n<!-- end -->\n"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	have, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no session", path)
	}
	session := strings.TrimSpace(string(out)) + "\n"
	if have == session {
		return
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+session+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("the session of %s is out of date: go test ./cmd/astra -update", path)
}
