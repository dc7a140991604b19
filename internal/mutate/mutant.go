package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// mutant is one change of one file.
type mutant struct {
	dir, file     string // of the repository
	line          int
	from, to      int    // offsets of what is replaced
	before, after string // what stands there, and what comes in its place
	source        []byte // of the file

	id    int     // in a schema; 0: it is compiled by itself
	tests []tests // that it meets, in this order
	fate  fate
	err   error // why it could not be tried
}

// swaps are the operators that are exchanged.
var swaps = map[token.Token]token.Token{
	token.LSS: token.LEQ, token.LEQ: token.LSS, token.GTR: token.GEQ, token.GEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL,
}

// mutantsOf returns all mutants of a directory's files without tests.
func mutantsOf(dir, only string) ([]*mutant, error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var all []*mutant
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		some, err := mutantsIn(dir, path, source)
		if err != nil {
			return nil, err
		}
		for _, m := range some {
			if match.MatchString(m.String()) {
				all = append(all, m)
			}
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: nothing to change: want a directory with Go files", dir)
	}
	return all, nil
}

func mutantsIn(dir, path string, source []byte) ([]*mutant, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	v := &visitor{fset: fset, dir: dir, path: path, source: source}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			ast.Inspect(d, v.visit)
		case *ast.GenDecl:
			if d.Tok == token.CONST || d.Tok == token.VAR {
				ast.Inspect(d, v.visit)
			}
		}
	}
	return v.all, nil
}

// visitor collects the mutants of a file.
type visitor struct {
	fset      *token.FileSet
	dir, path string
	source    []byte
	all       []*mutant
}

func (v *visitor) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IfStmt:
		cond := v.text(n.Cond)
		v.add(n.Cond.Pos(), n.Cond.End(), "!("+cond+")")
	case *ast.BinaryExpr:
		if other, ok := swaps[n.Op]; ok && !isText(n) {
			v.add(n.OpPos, n.OpPos+token.Pos(len(n.Op.String())), other.String())
		}
	case *ast.BasicLit:
		if i, err := strconv.ParseInt(n.Value, 0, 64); err == nil && n.Kind == token.INT {
			v.add(n.Pos(), n.End(), strconv.FormatInt(i+1, 10))
		}
	case *ast.Ident:
		switch n.Name {
		case "true":
			v.add(n.Pos(), n.End(), "false")
		case "false":
			v.add(n.Pos(), n.End(), "true")
		}
	case *ast.BlockStmt:
		v.drop(n.List)
	case *ast.CaseClause:
		v.drop(n.Body)
	case *ast.CommClause:
		v.drop(n.Body)
	case *ast.ImportSpec, *ast.ArrayType:
		return false // a length is a type
	}
	return true
}

// drop leaves out statements that nothing else needs to compile.
func (v *visitor) drop(statements []ast.Stmt) {
	for _, s := range statements {
		switch s := s.(type) {
		case *ast.ExprStmt, *ast.IncDecStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
			v.add(s.Pos(), s.End(), "")
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				v.add(s.Pos(), s.End(), "")
			}
		}
	}
}

// isText reports whether an addition joins strings, as far as it shows.
func isText(n *ast.BinaryExpr) bool {
	for _, x := range []ast.Expr{n.X, n.Y} {
		switch x := x.(type) {
		case *ast.BasicLit:
			if x.Kind == token.STRING && n.Op == token.ADD {
				return true
			}
		case *ast.BinaryExpr:
			if isText(x) {
				return true
			}
		}
	}
	return false
}

func (v *visitor) offset(p token.Pos) int { return v.fset.Position(p).Offset }

func (v *visitor) text(n ast.Node) string {
	return string(v.source[v.offset(n.Pos()):v.offset(n.End())])
}

func (v *visitor) add(from, to token.Pos, after string) {
	m := &mutant{
		dir: v.dir, file: v.path, line: v.fset.Position(from).Line,
		from: v.offset(from), to: v.offset(to), after: after, source: v.source,
	}
	m.before = string(v.source[m.from:m.to])
	v.all = append(v.all, m)
}

// mutated returns the file's text with the change.
func (m *mutant) mutated() []byte {
	return slices.Concat(m.source[:m.from], []byte(m.after), m.source[m.to:])
}

// context returns the line with what was changed in it.
func (m *mutant) context() string {
	begin, end := m.from, m.to
	for begin > 0 && m.source[begin-1] != '\n' {
		begin--
	}
	for end < len(m.source) && m.source[end] != '\n' {
		end++
	}
	return strings.Join(strings.Fields(string(m.source[begin:m.from])+"⟦"+m.before+"⟧"+string(m.source[m.to:end])), " ")
}

// String returns where the mutant is, and what it changes.
func (m *mutant) String() string {
	after := m.after
	if after == "" {
		after = "nothing"
	}
	return fmt.Sprintf("%s:%d: %s → %s", m.file, m.line, m.context(), strings.Join(strings.Fields(after), " "))
}
