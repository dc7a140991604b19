package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Most mutants can be in one program, which does as one of them at a time: to compile
// takes a hundred times as long as to run the tests. Each then is a choice where the
// code is changed, by a number in the environment. Those that the language has no
// choice for, of constants for one, are compiled one by one.

// schema is a package with many mutants in it.
type schema struct {
	fset    *token.FileSet
	info    *types.Info
	pkg     *types.Package
	drawn   map[string]*mutant // by where they are
	sources map[string][]byte
	edits   map[string][]edit // by file
}

// edit replaces what stands between two offsets.
type edit struct {
	from, to int
	text     func(inner func(from, to int) string) string
}

// environment has the number of the mutant to be.
const environment = "ASTRA_MUTANT"

const support = `package %s

import (
	"os"
	"strconv"
)

var mutantActive, _ = strconv.Atoi(os.Getenv("` + environment + `"))

func mutantIs(id int) bool { return mutantActive == id }

type mutantNumber interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr | ~float32 | ~float64
}

func mutantPick[T mutantNumber](id int, a, b T) T {
	if mutantActive == id {
		return b
	}
	return a
}

func mutantADD[T mutantNumber](id int, a, b T) T {
	if mutantActive == id {
		return a - b
	}
	return a + b
}

func mutantSUB[T mutantNumber](id int, a, b T) T {
	if mutantActive == id {
		return a + b
	}
	return a - b
}

func mutantMUL[T mutantNumber](id int, a, b T) T {
	if mutantActive == id {
		return a / b
	}
	return a * b
}

func mutantQUO[T mutantNumber](id int, a, b T) T {
	if mutantActive == id {
		return a * b
	}
	return a / b
}
`

var arithmetic = map[token.Token]string{token.ADD: "mutantADD", token.SUB: "mutantSUB", token.MUL: "mutantMUL", token.QUO: "mutantQUO"}

// combine writes into folder the overlay of a package that has the drawn mutants, as
// many as can be, and numbers these from 1 on.
func combine(folder, dir string, drawn []*mutant) (overlay string, err error) {
	s := &schema{fset: token.NewFileSet(), drawn: map[string]*mutant{}, sources: map[string][]byte{}, edits: map[string][]edit{}}
	for _, m := range drawn {
		s.drawn[place(m.file, m.from, m.to, m.after)] = m
	}
	files, err := s.load(dir)
	if err != nil {
		return "", err
	}
	n := 0
	for _, f := range files {
		w := walker{schema: s, file: f, path: s.fset.Position(f.FileStart).Filename, n: &n}
		ast.Inspect(f, w.visit)
	}
	return s.write(folder, dir)
}

func place(file string, from, to int, after string) string {
	return fmt.Sprint(filepath.ToSlash(file), " ", from, " ", to, " ", after)
}

// load parses and checks a package, without tests.
func (s *schema) load(dir string) (files []*ast.File, err error) {
	var list bytes.Buffer
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Dir}}\t{{join .GoFiles \" \"}}", "./"+filepath.ToSlash(dir)) //nolint:gosec // the go command
	cmd.Stdout = &list
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go list %s: %w", dir, err)
	}
	exports := map[string]string{}
	var path, names string
	for line := range strings.Lines(list.String()) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		exports[fields[0]] = fields[1]
		path, names = fields[0], fields[3] // the last is the package itself
	}
	for name := range strings.FieldsSeq(names) {
		file := filepath.Join(dir, name)
		if s.sources[file], err = os.ReadFile(file); err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(s.fset, file, s.sources[file], parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	s.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: importer.ForCompiler(s.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	s.pkg, err = conf.Check(path, s.fset, files, s.info)
	return files, err
}

// write writes the changed files and the overlay.
func (s *schema) write(folder, dir string) (overlay string, err error) {
	replace := map[string]string{}
	put := func(path, text string) error {
		original, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		changed := filepath.Join(folder, filepath.Base(path))
		replace[original] = changed
		return os.WriteFile(changed, []byte(text), 0o600)
	}
	for path, edits := range s.edits {
		slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
		if err := put(path, render(s.sources[path], edits, 0, len(s.sources[path]))); err != nil {
			return "", err
		}
	}
	if err := put(filepath.Join(dir, "mutate_support.go"), fmt.Sprintf(support, s.pkg.Name())); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o600)
}

// render returns what stands between two offsets, with the edits, sorted so that outer
// ones come first.
func render(source []byte, edits []edit, from, to int) string {
	var b strings.Builder
	for i := range edits {
		e := edits[i]
		if e.from < from || e.to > to {
			continue
		}
		b.Write(source[from:e.from])
		rest := edits[i+1:]
		b.WriteString(e.text(func(from, to int) string { return render(source, rest, from, to) }))
		from = e.to
	}
	b.Write(source[from:to])
	return b.String()
}

// walker finds the drawn mutants of a file.
type walker struct {
	*schema
	file    *ast.File
	path    string
	n       *int
	parents []ast.Node
}

func (w *walker) visit(n ast.Node) bool {
	if n == nil {
		w.parents = w.parents[:len(w.parents)-1]
		return true
	}
	switch n := n.(type) {
	case *ast.IfStmt:
		from, to := w.span(n.Cond)
		w.add(from, to, "!("+w.source(from, to)+")", from, to, w.isBool(n.Cond), func(id int, inner func(int, int) string) string {
			return fmt.Sprintf("((%s) != mutantIs(%d))", inner(from, to), id)
		})
	case *ast.BinaryExpr:
		w.binary(n)
	case *ast.BasicLit:
		w.number(n)
	case *ast.Ident:
		from, to := w.span(n)
		after := map[string]string{"true": "false", "false": "true"}[n.Name]
		w.add(from, to, after, from, to, w.isBool(n) && !w.constant(), func(id int, _ func(int, int) string) string {
			return fmt.Sprintf("(%s != mutantIs(%d))", n.Name, id)
		})
	case *ast.ExprStmt:
		panics := false // the statement that ends a function
		if call, ok := n.X.(*ast.CallExpr); ok {
			name, _ := call.Fun.(*ast.Ident)
			panics = name != nil && name.Name == "panic"
		}
		w.drop(n, !panics)
	case *ast.IncDecStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt, *ast.AssignStmt:
		w.drop(n, true)
	}
	w.parents = append(w.parents, n)
	return true
}

func (w *walker) drop(n ast.Node, can bool) {
	from, to := w.span(n)
	w.add(from, to, "", from, to, can, func(id int, inner func(int, int) string) string {
		return fmt.Sprintf("if !mutantIs(%d) { %s }", id, inner(from, to))
	})
}

func (w *walker) binary(n *ast.BinaryExpr) {
	other, ok := swaps[n.Op]
	if !ok {
		return
	}
	from, to := w.span(n)
	op := w.fset.Position(n.OpPos).Offset
	of := w.info.Types[n]
	x := func(inner func(int, int) string) string { return inner(w.span(n.X)) }
	y := func(inner func(int, int) string) string { return inner(w.span(n.Y)) }
	if name, ok := arithmetic[n.Op]; ok {
		basic, _ := of.Type.Underlying().(*types.Basic)
		can := of.Value == nil && basic != nil && basic.Info()&(types.IsInteger|types.IsFloat) != 0
		w.add(op, op+len(n.Op.String()), other.String(), from, to, can, func(id int, inner func(int, int) string) string {
			return fmt.Sprintf("%s(%d, %s, %s)", name, id, x(inner), y(inner))
		})
		return
	}
	w.add(op, op+len(n.Op.String()), other.String(), from, to, of.Value == nil && w.isBool(n), func(id int, inner func(int, int) string) string {
		a, b := x(inner), y(inner)
		return fmt.Sprintf("(mutantIs(%d) && ((%s) %v (%s)) || !mutantIs(%d) && ((%s) %v (%s)))", id, a, other, b, id, a, n.Op, b)
	})
}

func (w *walker) number(n *ast.BasicLit) {
	from, to := w.span(n)
	for _, m := range w.drawn {
		if filepath.Clean(m.file) != w.path || m.from != from || m.to != to {
			continue
		}
		name, can := w.typeName(w.info.Types[n].Type)
		w.add(from, to, m.after, from, to, can && n.Kind == token.INT && !w.constant(), func(id int, _ func(int, int) string) string {
			return fmt.Sprintf("mutantPick[%s](%d, %s, %s)", name, id, n.Value, m.after)
		})
	}
}

// typeName returns what a numeric type is called in the file.
func (w *walker) typeName(t types.Type) (name string, ok bool) {
	basic, _ := t.Underlying().(*types.Basic)
	if basic == nil || basic.Info()&(types.IsInteger|types.IsFloat) == 0 || basic.Info()&types.IsUntyped != 0 {
		return "", false
	}
	ok = true
	name = types.TypeString(t, func(p *types.Package) string {
		if p == w.pkg {
			return ""
		}
		for _, i := range w.file.Imports {
			if strings.Trim(i.Path.Value, `"`) == p.Path() && i.Name == nil {
				return p.Name()
			}
		}
		ok = false
		return ""
	})
	return name, ok
}

// constant reports whether what is visited has to be one: as part of a constant, as a
// key, or as a shift's operand, whose type would be another.
func (w *walker) constant() bool {
	for i := len(w.parents) - 1; i >= 0; i-- {
		switch p := w.parents[i].(type) {
		case *ast.GenDecl:
			return p.Tok == token.CONST
		case *ast.KeyValueExpr:
			return i == len(w.parents)-1 && w.info.Types[p.Key].Value != nil
		case *ast.BinaryExpr:
			if w.info.Types[p].Value != nil || p.Op == token.SHL || p.Op == token.SHR {
				return true
			}
		case ast.Expr:
			if w.info.Types[p].Value != nil {
				return true
			}
		case ast.Stmt:
			return false
		}
	}
	return false
}

func (w *walker) isBool(e ast.Expr) bool {
	b, ok := types.Unalias(w.info.Types[e].Type).(*types.Basic)
	return ok && b.Info()&types.IsBoolean != 0
}

func (w *walker) span(n ast.Node) (from, to int) {
	return w.fset.Position(n.Pos()).Offset, w.fset.Position(n.End()).Offset
}

func (w *walker) source(from, to int) string { return string(w.sources[w.path][from:to]) }

// add makes a choice of a mutant, if it was drawn and there can be one.
func (w *walker) add(from, to int, after string, begin, end int, can bool, text func(id int, inner func(int, int) string) string) {
	m := w.drawn[place(w.path, from, to, after)]
	if m == nil || !can || m.id > 0 {
		return
	}
	*w.n++
	m.id = *w.n
	w.edits[w.path] = append(w.edits[w.path], edit{begin, end, func(inner func(int, int) string) string { return text(m.id, inner) }})
}
