package doctest

import (
	"go/ast"
	"go/doc"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exampleCode returns the code of all Examples: the test files that have some, and
// the programs in examples.
func exampleCode(t *testing.T) string {
	t.Helper()
	var code strings.Builder
	example := regexp.MustCompile(`(?m)^func Example`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		programs := strings.HasPrefix(filepath.ToSlash(path), root+"/examples/")
		if programs || strings.HasSuffix(path, "_test.go") && example.Match(text) {
			code.WriteString(flat(string(text)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return code.String()
}

// TestGoBlocksAreExamples: every Go block of every document is part of an Example,
// complete, and formatted.
func TestGoBlocksAreExamples(t *testing.T) {
	code, found := exampleCode(t), 0
	for _, file := range documents {
		for _, block := range blocks(document(t, file), "go") {
			found++
			if !strings.Contains(code, flat(block)) {
				t.Errorf("%s: no Example has this block, so nothing compiles it:\n%s", file, block)
			}
			if formatted, err := format.Source([]byte(block)); err != nil {
				t.Errorf("%s: this block is not complete: %v\n%s", file, err, block)
			} else if string(formatted) != block {
				t.Errorf("%s: gofmt changes this block:\n%s", file, block)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d Go blocks found: the test reads the documents wrongly", found)
	}
}

// TestExamplesRun: every Example has its output written beneath it, without which
// go test only compiles it.
func TestExamplesRun(t *testing.T) {
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, e := range doc.Examples(file) {
			found++
			if e.Output == "" && !e.EmptyOutput {
				t.Errorf("%s: Example%s has no output, so nothing runs it", path, e.Name)
			}
		}
		return nil
	})
	if err != nil || found < 50 {
		t.Errorf("%d Examples found, %v: the test looks in the wrong place", found, err)
	}
}

// TestEntryPointsHaveExamples: every exported function of the public packages is
// called by some Example.
func TestEntryPointsHaveExamples(t *testing.T) {
	code := exampleCode(t)
	imported := map[string]string{"codes": "astracodes"}
	elsewhere := map[string]string{
		"interceptors.WithStore": "package state",
		"codes.Name":             "ExampleSet_All",
		"codes.Of":               "package codes' own tests",
		"observe.Outcomes":       "what lists outcomes, not users",
	}
	for _, dir := range []string{"chaos", "codes", "config", "interceptors", "jitter", "metrics", "observe", "state", "statuspage", "tracing"} {
		for _, name := range exportedFuncs(t, filepath.Join(root, dir)) {
			if _, ok := elsewhere[dir+"."+name]; ok {
				continue
			}
			called := dir
			if as, ok := imported[dir]; ok {
				called = as
			}
			if !regexp.MustCompile(`\b` + called + `\.` + name + `\b`).MatchString(code) {
				t.Errorf("no Example calls %s.%s", dir, name)
			}
		}
	}
}

// exportedFuncs returns the exported functions of a folder that are no methods.
func exportedFuncs(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.IsExported() {
				names = append(names, f.Name.Name)
			}
		}
	}
	if len(names) == 0 {
		t.Fatalf("%s has no exported function: the test looks in the wrong place", dir)
	}
	return names
}
