package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const code = `package p

const limit = 10

var names = [3]string{"a" + "b"}

func Clamp(n int) (int, bool) {
	if n > limit {
		n = limit
		return n, true
	}
	return n, n < 0 && limit == 10
}
`

func TestMutants(t *testing.T) {
	all, err := mutantsIn("p", "p/p.go", []byte(code))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		got = append(got, m.before+" → "+m.after)
		if text := string(m.mutated()); len(text) != len(code)-len(m.before)+len(m.after) || text == code {
			t.Errorf("%v: the file becomes\n%s", m, text)
		}
	}
	want := []string{
		"10 → 11", // the constant; neither the array's length nor joined strings
		"n > limit → !(n > limit)", "> → >=", "n = limit → ", "true → false",
		"&& → ||", "< → <=", "0 → 1", "== → !=", "10 → 11",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("mutants\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// module makes a module with a package p, and its tests.
func module(t *testing.T, tests string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for path, text := range map[string]string{"go.mod": "module m\n\ngo 1.26\n", "p/p.go": code, "p/p_test.go": tests} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const clampTests = `package p

import "testing"

func TestClamp(t *testing.T) {
	for _, c := range []struct {
		n, want int
		flag    bool
	}{CASES} {
		if got, flag := Clamp(c.n); got != c.want || flag != c.flag {
			t.Errorf("Clamp(%d) = %d, %v", c.n, got, flag)
		}
	}
}
`

// The driver separates good tests from weak ones, knows what is equivalent, and writes
// its table.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles some twenty times")
	}
	weak := "{5, 5, false}, {20, 10, true}, {-5, -5, true}"
	module(t, strings.Replace(clampTests, "CASES", weak, 1))
	// The tests of q see what those of p do not: that ten is not clamped.
	q := "package q\n\nimport (\n\t\"m/p\"\n\t\"testing\"\n)\n\nfunc TestTen(t *testing.T) {\n\tif _, clamped := p.Clamp(10); clamped {\n\t\tt.Error(10)\n\t}\n}\n"
	equivalent := "# reasons\np/p.go\treturn n, n < ⟦0⟧ && limit == 10\t1\tan example\n"
	for path, text := range map[string]string{equivalentsFile: equivalent, testsFile: "# more\np/.*\tp\tNone\np/p.go\tq\tTestT\n", "q/q_test.go": q, "doc.md": "before\n" + tableBegin + "| p | 1 |\n| q/r | 2 |\n\n- `p/p.go:1: x`\n- `q/r/r.go:1: x`\n" + tableEnd + "after\n"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := run([]string{"-write", "doc.md", "p"}, &out); err != nil {
		t.Fatal(err)
	}
	var one bytes.Buffer
	if err := run([]string{"-only", "p.go:12: .*⟦<⟧", "p"}, &one); err != nil || !strings.Contains(one.String(), "of 1 mutants 1 tried") {
		t.Errorf("%v, %s; want one mutant", err, one.String())
	}
	doc, err := os.ReadFile("doc.md")
	if err != nil {
		t.Fatal(err)
	}
	for text, wants := range map[string][]string{
		out.String(): {
			"p: of 10 mutants 10 tried (seed 1), 8 killed, 1 equivalent, 1 survived: 89 %",
			"p/p.go:12: return n, n ⟦<⟧ 0 && limit == 10 → <=",
		},
		string(doc): {"before\n" + tableBegin + tableHead + "| p | 10 | – | 10 | 8 | 1 | 1 | 89 % |\n| q/r | 2 |\n", "- `q/r/r.go:1: x`\n", "- `p/p.go:12: return n, n ⟦<⟧ 0 && limit == 10 → <=`\n", tableEnd + "after\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
	if strings.Contains(string(doc), "p/p.go:1: x") {
		t.Errorf("an old survivor is kept:\n%s", doc)
	}
}

// Tests that fail without any change show nothing.
func TestUnsound(t *testing.T) {
	module(t, strings.Replace(clampTests, "CASES", "{1, 2, false}", 1))
	if err := run([]string{"p"}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "fail without any change") {
		t.Errorf("%v, want that the tests fail by themselves", err)
	}
	if err := run([]string{"nowhere"}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "nothing to change") {
		t.Errorf("%v, want that there is nothing", err)
	}
	if err := run(nil, &bytes.Buffer{}); err == nil {
		t.Error("no packages are taken")
	}
}

// A test that fails now and then kills no mutant.
func TestFlaky(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	module(t, `package p

import (
	"os"
	"testing"
)

func TestOnce(t *testing.T) {
	if _, err := os.Stat("seen"); err != nil {
		_ = os.WriteFile("seen", nil, 0o600)
		t.Error("the first time")
	}
}
`)
	m := &mutant{dir: "p", file: "p/p.go", source: []byte(code), tests: []tests{{dir: "p"}}}
	if m.try(programs{"p": {dir: "p", timeout: time.Minute}}); m.err != nil || m.fate != survived {
		t.Errorf("fate %d, %v; want that it survives", m.fate, m.err)
	}
}

// A line that the table of tests cannot mean is an error that quotes it.
func TestTestsTable(t *testing.T) {
	for _, line := range []string{"a b c", "(\tq\t."} {
		path := filepath.Join(t.TempDir(), "tests.txt")
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readTests(path); err == nil || !strings.Contains(err.Error(), "want") && !strings.Contains(err.Error(), "error parsing") {
			t.Errorf("%q: %v", line, err)
		}
	}
}
