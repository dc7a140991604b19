package archtest

import (
	"go/ast"
	"go/build"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	// maxCycle is how many files of a package may refer to one another in a
	// circle: a concept that needs more is a knot.
	maxCycle = 6
	// maxEngine is how many names package engine may export, fields included.
	maxEngine = 60
)

// checked is a package of the module with its types.
type checked struct {
	files []source
	info  *types.Info
	types *types.Package
}

// check type-checks the module's packages, from the build's own export data.
func check(t *testing.T, dirs ...string) map[string]*checked {
	t.Helper()
	byDir := map[string]*checked{}
	fset := token.NewFileSet()
	for _, s := range sourcesIn(t, fset) {
		if s.isTest() || len(dirs) > 0 && !slices.Contains(dirs, s.dir) {
			continue
		}
		if fits, err := build.Default.MatchFile(filepath.Join(root, s.dir), s.name); err != nil || !fits {
			continue // another system's
		}
		if byDir[s.dir] == nil {
			byDir[s.dir] = &checked{info: &types.Info{Uses: map[*ast.Ident]types.Object{}}}
		}
		byDir[s.dir].files = append(byDir[s.dir].files, s)
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", exportData(t))}
	for dir, c := range byDir {
		var files []*ast.File
		for _, s := range c.files {
			files = append(files, s.file)
		}
		var err error
		if c.types, err = conf.Check(module+dir, fset, files, c.info); err != nil {
			t.Fatal(err)
		}
	}
	return byDir
}

// exportData finds what the build knows of packages.
var exportData = func() func(*testing.T) importer.Lookup {
	list := sync.OnceValues(func() (map[string]string, error) {
		cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./...")
		cmd.Dir = root
		out, err := cmd.Output()
		files := map[string]string{}
		for line := range strings.Lines(string(out)) {
			if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
				files[path] = file
			}
		}
		return files, err
	})
	return func(t *testing.T) importer.Lookup {
		t.Helper()
		files, err := list()
		if err != nil {
			t.Fatal(err)
		}
		return func(path string) (io.ReadCloser, error) { return os.Open(files[path]) }
	}
}()

// TestNoKnots: files of a package that refer to one another in circles are few.
func TestNoKnots(t *testing.T) {
	seen := 0
	for dir, c := range check(t) {
		if dir == "internal/flakyserver" {
			continue // one server, a file for each side of it: a test double
		}
		for _, cycle := range cycles(c) {
			seen++
			if len(cycle) > maxCycle {
				t.Errorf("%s: %d files refer to one another in circles, want at most %d: %s", dir, len(cycle), maxCycle, strings.Join(cycle, " "))
			}
		}
	}
	if seen == 0 {
		t.Error("no two files refer to one another: the test looks in the wrong place")
	}
}

// cycles returns the strongly connected components of more than one file.
func cycles(c *checked) (all [][]string) {
	byName := map[string]*source{}
	var names []string
	for i := range c.files {
		byName[c.files[i].name] = &c.files[i]
		names = append(names, c.files[i].name)
	}
	slices.Sort(names)
	refers := map[string]map[string]bool{}
	for _, n := range names {
		refers[n] = map[string]bool{}
	}
	for id, obj := range c.info.Uses {
		if obj.Pkg() != c.types || !obj.Pos().IsValid() {
			continue
		}
		fset := c.files[0].fset
		from, to := filepath.Base(fset.Position(id.Pos()).Filename), filepath.Base(fset.Position(obj.Pos()).Filename)
		if from != to {
			refers[from][to] = true
		}
	}
	// Tarjan's algorithm.
	index, low, on := map[string]int{}, map[string]int{}, map[string]bool{}
	var stack []string
	var visit func(string)
	visit = func(n string) {
		index[n] = len(index) + 1
		low[n] = index[n]
		stack = append(stack, n)
		on[n] = true
		for m := range refers[n] {
			if index[m] == 0 {
				visit(m)
				low[n] = min(low[n], low[m])
			} else if on[m] {
				low[n] = min(low[n], index[m])
			}
		}
		if low[n] != index[n] {
			return
		}
		var cycle []string
		for {
			m := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			on[m] = false
			cycle = append(cycle, m)
			if m == n {
				break
			}
		}
		if len(cycle) > 1 {
			slices.Sort(cycle)
			all = append(all, cycle)
		}
	}
	for _, n := range names {
		if index[n] == 0 {
			visit(n)
		}
	}
	return all
}

// TestEngineStartsNothing: timers and goroutines are its drivers'.
func TestEngineStartsNothing(t *testing.T) {
	starts := []string{"After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
	for _, s := range sources(t) {
		if s.dir != "internal/engine" || s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%v: the engine starts a goroutine", s.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if ok && x.Name == "time" && slices.Contains(starts, n.Sel.Name) {
					t.Errorf("%v: the engine starts a timer: time.%s", s.fset.Position(n.Pos()), n.Sel.Name)
				}
				if ok && x.Name == "context" && strings.HasPrefix(n.Sel.Name, "With") && n.Sel.Name != "WithValue" {
					t.Errorf("%v: the engine makes a context that is to be cancelled: context.%s", s.fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestEngineIsSmall: its exported names, methods and fields included.
func TestEngineIsSmall(t *testing.T) {
	c := check(t, "internal/engine")["internal/engine"]
	var names []string
	scope := c.types.Scope()
	for _, n := range scope.Names() {
		obj := scope.Lookup(n)
		if !obj.Exported() {
			continue
		}
		names = append(names, n)
		named, ok := obj.Type().(*types.Named)
		if _, isType := obj.(*types.TypeName); !ok || !isType {
			continue
		}
		for m := range named.Methods() {
			if m.Exported() {
				names = append(names, n+"."+m.Name())
			}
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %v seen: the test looks in the wrong place", names)
	}
	if len(names) > maxEngine {
		t.Errorf("%d exported names, want at most %d: %v", len(names), maxEngine, names)
	}
	t.Logf("%d exported names", len(names))
}

// TestDriversWriteNoBooks: no field of an engine's call is written outside the
// engine.
func TestDriversWriteNoBooks(t *testing.T) {
	fields := map[string]bool{}
	for _, s := range sources(t) {
		if s.dir == "internal/engine" && s.name == "call.go" {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "Call" {
					for _, f := range spec.Type.(*ast.StructType).Fields.List {
						for _, name := range f.Names {
							if name.IsExported() {
								fields[name.Name] = true
							}
						}
					}
				}
				return true
			})
		}
	}
	if len(fields) == 0 {
		t.Fatal("no exported fields seen: the test looks in the wrong place")
	}
	for _, s := range sources(t) {
		if s.dir != "interceptors" || s.isTest() {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			a, ok := n.(*ast.AssignStmt)
			if !ok {
				return true
			}
			for _, left := range a.Lhs {
				if sel, ok := left.(*ast.SelectorExpr); ok && fields[sel.Sel.Name] && isCall(sel.X) {
					t.Errorf("%v: %s of the engine's call is written", s.fset.Position(left.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// isCall reports whether drivers name a call so: c, u (which embeds it), or the
// field call of something.
func isCall(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name == "c" || x.Name == "u"
	case *ast.SelectorExpr:
		return strings.EqualFold(x.Sel.Name, "call")
	}
	return false
}
