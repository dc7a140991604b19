package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAPIIsListed: docs/api.md has every exported name of the public packages, each
// with a reason, and no other.
func TestAPIIsListed(t *testing.T) {
	exported := publicNames(t)
	if len(exported) < 12 {
		t.Fatalf("public packages %v: the test looks in the wrong place", slices.Sorted(maps.Keys(exported)))
	}
	listed := map[string][]string{} // package → names
	name, pkg := regexp.MustCompile("`([\\w.]+)`"), ""
	for line := range strings.Lines(document(t, "docs/api.md")) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			pkg = strings.TrimSpace(heading)
			if exported[pkg] == nil {
				t.Errorf("docs/api.md lists package %s, which exports nothing", pkg)
			}
		}
		for _, cells := range rows(line) {
			for _, m := range name.FindAllStringSubmatch(cells[0], -1) {
				listed[pkg] = append(listed[pkg], m[1])
				if len(cells) != 2 || cells[1] == "" {
					t.Errorf("docs/api.md gives no reason for %s.%s", pkg, m[1])
				}
			}
		}
	}
	for pkg, names := range exported {
		got := slices.Sorted(slices.Values(listed[pkg]))
		for _, n := range names {
			if !slices.Contains(got, n) {
				t.Errorf("docs/api.md lacks %s.%s: say who uses it, or do not export it", pkg, n)
			}
		}
		for i, n := range got {
			if !slices.Contains(names, n) {
				t.Errorf("docs/api.md lists %s.%s, which is not exported", pkg, n)
			}
			if i > 0 && got[i-1] == n {
				t.Errorf("docs/api.md lists %s.%s twice", pkg, n)
			}
		}
	}
}

// publicNames returns what every public package of the module and its nested modules
// exports, by folder.
func publicNames(t *testing.T) map[string][]string {
	t.Helper()
	private := []string{"internal", "testdata", "cmd", "examples", "bench", "integration"}
	all, fset := map[string][]string{}, token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || slices.Contains(private, d.Name())):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil || file.Name.Name == "main" {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if found := names(file); len(found) > 0 {
			all[filepath.ToSlash(dir)] = append(all[filepath.ToSlash(dir)], found...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// names returns what a file exports: see the head of docs/api.md for what is left out.
func names(file *ast.File) (all []string) {
	implied := []string{"String", "Error", "Unwrap", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON",
		"Describe", "Collect", "Observe", "SuiteEvent"}
	add := func(names ...*ast.Ident) {
		for _, n := range names {
			if n.IsExported() {
				all = append(all, n.Name)
			}
		}
	}
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Recv == nil {
				add(decl.Name)
			} else if of := receiver(decl.Recv.List[0].Type); of.IsExported() && decl.Name.IsExported() && !slices.Contains(implied, decl.Name.Name) {
				all = append(all, of.Name+"."+decl.Name.Name)
			}
		case *ast.GenDecl:
			typed := false // of a constant: by itself, or by the one above it
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					add(spec.Name)
				case *ast.ValueSpec:
					typed = spec.Type != nil || typed && spec.Values == nil
					if decl.Tok != token.CONST || !typed {
						add(spec.Names...)
					}
				}
			}
		}
	}
	return all
}

// receiver returns the name of a receiver's type.
func receiver(of ast.Expr) *ast.Ident {
	switch of := of.(type) {
	case *ast.StarExpr:
		return receiver(of.X)
	case *ast.IndexExpr: // of a generic type
		return receiver(of.X)
	}
	return of.(*ast.Ident)
}
