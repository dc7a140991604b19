package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// TestSchema: schema.json is what the grammar says now. Run it with -update
// after a change of the grammar, of a policy's fields, ranges or comments.
func TestSchema(t *testing.T) {
	s := schemaMaker{t: t, docs: fieldDocs(t), definitions: dict{}}
	root := s.object(document, "")
	root["definitions"] = s.definitions
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["$id"] = "https://raw.githubusercontent.com/astra-grpc/astra/main/config/schema.json"
	root["title"] = "Astra policy file"
	root["description"] = "gRPC's service config, with an object astra in its entries."
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile("schema.json", got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), Schema()) {
		t.Error("schema.json is not what the grammar says: run go test ./config -update, and see what changed")
	}
}

// dict is a JSON object.
type dict = map[string]any

type schemaMaker struct {
	t    *testing.T
	docs map[string]string // of the Go fields: "Breaker.Window"

	definitions dict
}

// define gives a shape a name, and returns what refers to it: of draft 7, what
// stands beside a reference does not count.
func (s *schemaMaker) define(name string, d dict) dict {
	s.definitions[name] = d
	return dict{"allOf": []dict{{"$ref": "#/definitions/" + name}}}
}

func (s *schemaMaker) object(o *objectShape, prefix string) dict {
	properties, required := dict{}, []string{}
	for _, f := range o.fields {
		path := prefix + f.member
		switch {
		case f.key == "astra":
			path = ""
		case o == document && f.key == "balancing":
			path = strings.TrimSuffix(balancingPath, ".")
		}
		p := s.value(f.shape, path)
		doc := f.doc
		if f.channel {
			doc = "Accepted, and not acted on: only the channel can honour it."
		}
		if f.member != "" && doc == "" {
			doc = s.docs[path]
		}
		if doc != "" {
			p["description"] = doc
		}
		properties[f.key] = p
		if f.required != "" {
			required = append(required, f.key)
		}
	}
	all := dict{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		all["required"] = required
	}
	switch o {
	case chaosPlan:
		faults := properties["faults"].(dict)
		faults["minItems"], faults["maxItems"] = 1, 100
	case methodConfig:
		all["not"] = dict{"required": []string{"retryPolicy", "hedgingPolicy"}}
	case methodName:
		named := dict{"type": "string", "minLength": 1}
		all["if"] = dict{"required": []string{"method"}, "properties": dict{"method": named}}
		all["then"] = dict{"required": []string{"service"}, "properties": dict{"service": named}}
	}
	return all
}

func (s *schemaMaker) value(v shape, path string) dict {
	switch v := v.(type) {
	case nil, anything:
		return dict{}
	case *objectShape:
		if path != "" {
			path += "."
		}
		return s.object(v, path)
	case listOf:
		return dict{"type": "array", "items": s.value(v.item, path)}
	case perCode:
		return dict{"type": "object", "propertyNames": s.codeName(codes.Canceled), "additionalProperties": s.value(v.item, path+"[]")}
	case integer:
		if v.own {
			return s.ownRange(dict{"type": "integer"}, path)
		}
		return dict{"type": "integer", "minimum": v.from, "maximum": v.to}
	case real:
		if v.own {
			return s.ownRange(dict{"type": "number"}, path)
		}
		least := "minimum"
		if v.above {
			least = "exclusiveMinimum"
		}
		return dict{"type": "number", least: v.from, "maximum": v.to}
	case duration:
		name, pattern, digit := "protoDuration", `^[0-9]*(\.[0-9]{0,9})?s$`, `[1-9]`
		if v.own {
			name, pattern = "duration", `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`
		}
		if v.zero {
			name, digit = "protoDurationOrZero", `[0-9]`
		}
		return s.define(name, dict{"type": "string", "allOf": []dict{{"pattern": pattern}, {"pattern": digit}}})
	case boolFlag:
		return dict{"type": "boolean"}
	case word:
		return dict{"enum": v.names()}
	case codeSet:
		one := []dict{s.codeName(v.from), {"type": "integer", "minimum": int(v.from), "maximum": 16}}
		list := dict{"type": "array", "items": dict{"anyOf": one}}
		if !v.empty {
			list["minItems"] = 1
		}
		return list
	case choice:
		return dict{"enum": v.names}
	case moment:
		return dict{"type": "string", "format": "date-time"}
	case oneCode:
		return dict{"anyOf": []dict{s.codeName(codes.Canceled), {"type": "integer", "minimum": 1, "maximum": 16}}}
	case anyText:
		return dict{"type": "string"}
	case pattern:
		return dict{"type": "string", "pattern": `^(\*|/[^/* \t\r\n]+/(\*|[^/* \t\r\n]+))$`}
	case name:
		return dict{"anyOf": []dict{{"type": "string", "pattern": `^[^/* \t\r\n]*$`}, {"type": "null"}}}
	}
	s.t.Fatalf("%s: the schema has no word for a %T", path, v)
	return nil
}

// codeName is a code's name: as editors offer it, or in any case.
func (s *schemaMaker) codeName(from codes.Code) dict {
	var patterns []string
	for c := from; c <= codes.Unauthenticated; c++ {
		for _, spelling := range []string{astracodes.Name(c), c.String()} {
			var b strings.Builder
			for _, r := range spelling {
				if unicode.IsLetter(r) {
					fmt.Fprintf(&b, "[%c%c]", unicode.ToUpper(r), unicode.ToLower(r))
				} else {
					b.WriteRune(r)
				}
			}
			if p := b.String(); !slices.Contains(patterns, p) {
				patterns = append(patterns, p)
			}
		}
	}
	name := "failure"
	if from == codes.OK {
		name = "code"
	}
	return s.define(name, dict{"anyOf": []dict{
		{"enum": codeNames(from)},
		{"type": "string", "pattern": "^(" + strings.Join(patterns, "|") + ")$"},
	}})
}

// ownRange adds the range that a policy's Validate gives a field. It is found
// by trying, so that it is written in one place only.
func (s *schemaMaker) ownRange(d dict, path string) dict {
	lowest, highest := bounds(s.t, path)
	if lowest == 0 {
		d["exclusiveMinimum"] = 0
	} else {
		d["minimum"] = lowest
	}
	if highest < math.MaxFloat64 {
		d["maximum"] = highest
	}
	return d
}

// bounds are the least and the greatest value of a field; 0 for the least if it
// is as small as can be.
func bounds(t *testing.T, path string) (lowest, highest float64) {
	isInt := fieldAt(&interceptors.Policy{}, strings.ReplaceAll(path, "PerCode[]", "Backoff")).CanInt()
	if of, ok := strings.CutPrefix(path, balancingPath); ok {
		isInt = fieldIn(reflect.ValueOf(&interceptors.Balancing{}).Elem(), of).CanInt()
	}
	ok := func(v float64) bool { return allowed(path, v) }
	inside := 0.0
	for _, v := range []float64{1, 2, 0.5, 10, 100, 1e3, 1e6} {
		if ok(v) {
			inside = v
			break
		}
	}
	if inside == 0 {
		t.Fatalf("%s: no value is allowed", path)
	}
	middle := func(low, high float64) float64 { // on a scale of bits
		m := math.Float64frombits((math.Float64bits(low) + math.Float64bits(high)) / 2)
		if isInt {
			m = math.Floor(m)
		}
		return m
	}
	low, high := 0.0, inside // not ok, ok
	for m := middle(low, high); m != low && m != high; m = middle(low, high) {
		if ok(m) {
			high = m
		} else {
			low = m
		}
	}
	lowest = high
	if low == 0 && !isInt {
		lowest = 0
	}
	most := math.MaxFloat64
	if isInt {
		most = math.MaxInt32 * 2
	}
	if ok(most) {
		return lowest, math.MaxFloat64
	}
	low, high = inside, most // ok, not ok
	for m := middle(low, high); m != low && m != high; m = middle(low, high) {
		if ok(m) {
			low = m
		} else {
			high = m
		}
	}
	return lowest, low
}

// allowed reports whether a field may have a value, be it beside others that it
// needs.
func allowed(path string, v float64) bool {
	if of, ok := strings.CutPrefix(path, balancingPath); ok {
		var b interceptors.Balancing
		set(fieldIn(reflect.ValueOf(&b).Elem(), of), v)
		return !faulty(b.Validate(), of)
	}
	beside := interceptors.Policy{
		Retry:   interceptors.Retry{Backoff: jitter.Backoff{Base: 1, Max: math.MaxInt64}},
		Breaker: interceptors.Breaker{SlowCall: time.Millisecond, OpenFor: time.Millisecond},
		Limit:   interceptors.Limit{MaxConcurrent: 1, MaxQueue: 1, Rate: 1},
	}
	for _, p := range []interceptors.Policy{{}, beside} {
		if b, inTable := strings.CutPrefix(path, "Retry.PerCode[]."); inTable {
			path = "Retry.Backoff." + b
		}
		set(fieldAt(&p, path), v)
		if !faulty(p.Validate(), path) {
			return true
		}
	}
	return false
}

func set(f reflect.Value, v float64) {
	if f.CanInt() {
		f.SetInt(int64(v))
	} else {
		f.SetFloat(v)
	}
}

func faulty(faults error, path string) bool {
	for _, err := range unjoin(faults) {
		var f *interceptors.FieldError
		if errors.As(err, &f) && f.Field == path {
			return true
		}
	}
	return false
}

// fieldDocs are the comments of the policy's fields, as one line each.
func fieldDocs(t *testing.T) map[string]string {
	docs := map[string]string{}
	for prefix, typ := range map[string]reflect.Type{"": reflect.TypeFor[interceptors.Policy](), balancingPath: reflect.TypeFor[interceptors.Balancing](), "Retry.Backoff.": reflect.TypeFor[jitter.Backoff]()} {
		structs := structComments(t, filepath.Join("..", filepath.Base(typ.PkgPath())))
		var walk func(typ reflect.Type, prefix string)
		walk = func(typ reflect.Type, prefix string) {
			for i := range typ.NumField() {
				f := typ.Field(i)
				doc := structs[typ.Name()+"."+f.Name]
				if doc == "" && f.Type.Kind() == reflect.Struct {
					doc = structs[f.Type.Name()]
				}
				docs[prefix+f.Name] = doc
				if f.Type.Kind() == reflect.Struct && f.Type.PkgPath() == typ.PkgPath() {
					walk(f.Type, prefix+f.Name+".")
				}
			}
		}
		walk(typ, prefix)
	}
	for path, doc := range docs { // what is said of the backoff holds for that of a code
		if name, ok := strings.CutPrefix(path, "Retry.Backoff."); ok {
			docs["Retry.PerCode[]."+name] = doc
		}
	}
	return docs
}

// structComments returns the comments of a package's structs and their fields.
func structComments(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(files), err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				ts, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				all[ts.Name.Name] = line(g.Doc, ts.Doc)
				if st, ok := ts.Type.(*ast.StructType); ok {
					for _, f := range st.Fields.List {
						for _, n := range f.Names {
							all[ts.Name.Name+"."+n.Name] = line(f.Doc, f.Comment)
						}
					}
				}
			}
		}
	}
	return all
}

var (
	goLink    = regexp.MustCompile(`\[([A-Za-z.]+)\]`)
	goDefault = regexp.MustCompile(`\b0: `)
)

// line is the first paragraph of a comment, without links.
func line(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			first, _, _ := strings.Cut(g.Text(), "\n\n")
			first = goLink.ReplaceAllString(strings.Join(strings.Fields(first), " "), "$1")
			return goDefault.ReplaceAllString(first, "Default: ") // in a file, zero is none
		}
	}
	return ""
}
