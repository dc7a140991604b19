package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

const (
	root     = "../.."
	module   = "github.com/astra-grpc/astra/"
	maxLines = 400
)

// mayImport says which packages of this module and which outside the standard
// library a package may import; a prefix ends in "/". A package that is not
// named here is free.
var mayImport = map[string][]string{
	"internal/field":   {},
	"jitter":           {module + "internal/field"},
	"codes":            {"google.golang.org/grpc/codes"},
	"internal/backend": {},
	"internal/breaker": {},
	"internal/budget":  {},
	"internal/failure": {"google.golang.org/grpc/codes"},
	"internal/hedge":   {module + "codes", module + "internal/failure", "google.golang.org/grpc/codes"},
	"internal/limit":   {},
	"internal/verdict": {module + "codes", "google.golang.org/grpc/codes"},
	"internal/text":    {},
	"internal/retry":   {module + "codes", module + "jitter", module + "internal/failure", "google.golang.org/grpc/codes"},
	// observe is what happens to calls: it needs no transport.
	"observe": {"google.golang.org/grpc/codes"},
	// hooks calls the hooks of observers.
	"internal/hooks": {module + "observe"},
	// The engine decides and keeps the books of one call. It knows neither
	// transport nor stream.
	"internal/journal": {module + "observe", "google.golang.org/grpc/codes"},
	"internal/engine": {
		module + "codes", module + "observe", module + "internal/journal",
		module + "internal/breaker", module + "internal/budget", module + "internal/failure", module + "internal/fleet", module + "internal/hedge", module + "internal/hooks", module + "internal/limit", module + "internal/retry", module + "internal/text", module + "internal/verdict",
		"google.golang.org/grpc/codes", "google.golang.org/grpc/metadata", "google.golang.org/grpc/status",
		"google.golang.org/genproto/googleapis/rpc/errdetails", "google.golang.org/protobuf/types/known/durationpb",
	},
	// The fleet is what a suite knows of backends, between engine and policy.
	"internal/fleet": {module + "internal/backend", module + "internal/breaker", module + "internal/text"},
	"balancer": {
		module + "internal/fleet",
		"google.golang.org/grpc/balancer", "google.golang.org/grpc/balancer/", "google.golang.org/grpc/connectivity", "google.golang.org/grpc/resolver", "google.golang.org/grpc/serviceconfig",
	},
	// message is what calls carry: it knows codecs, and nothing of calls.
	"internal/message": {
		"google.golang.org/grpc", "google.golang.org/grpc/codes", "google.golang.org/grpc/encoding", "google.golang.org/grpc/encoding/proto",
		"google.golang.org/grpc/mem", "google.golang.org/grpc/status", "google.golang.org/protobuf/",
	},
	"internal/inside": {module + "internal/engine", module + "internal/fleet"},
	"interceptors": {
		module + "internal/inside",
		module + "balancer", // by balancing_link.go, for its effect
		module + "codes", module + "jitter", module + "observe", module + "internal/engine", module + "internal/journal", module + "internal/message", module + "internal/text",
		module + "internal/breaker", module + "internal/budget", module + "internal/changelog", module + "internal/failure", module + "internal/field", module + "internal/fleet", module + "internal/hedge", module + "internal/hooks", module + "internal/inside", module + "internal/limit", module + "internal/retry", module + "internal/verdict",
		"google.golang.org/grpc", "google.golang.org/grpc/", "google.golang.org/genproto/googleapis/rpc/", "google.golang.org/protobuf/",
	},
	"metrics": {
		module + "observe", module + "internal/text", "google.golang.org/grpc/codes", "github.com/prometheus/client_golang/prometheus", "go.opentelemetry.io/otel/trace",
	},
	"internal/changelog": {module + "codes", module + "observe", module + "internal/text"},
	"tracing": {
		module + "codes", module + "observe", module + "internal/changelog", module + "internal/text", "google.golang.org/grpc/codes", "google.golang.org/grpc/metadata", "google.golang.org/grpc/status",
		// The API alone, of OpenTelemetry: its SDK is the user's choice.
		"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes", "go.opentelemetry.io/otel/propagation",
		"go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/metric/noop", "go.opentelemetry.io/otel/trace", "go.opentelemetry.io/otel/trace/noop",
	},
	"config": {
		module + "chaos", module + "codes", module + "interceptors", module + "internal/text", module + "jitter", "google.golang.org/grpc/codes", "github.com/fsnotify/fsnotify", "go.yaml.in/yaml/v3",
	},
	// chaos stands beneath a suite, and knows nothing of it.
	"chaos": {
		module + "internal/field", "google.golang.org/grpc", "google.golang.org/grpc/", "google.golang.org/genproto/googleapis/rpc/errdetails", "google.golang.org/protobuf/",
	},
	// Tests of users link astratest: it brings no YAML, no Prometheus and no .proto.
	"astratest": {
		module + "interceptors", module + "observe", module + "internal/flakyserver", "google.golang.org/grpc", "google.golang.org/grpc/", "google.golang.org/protobuf/",
	},
	"statuspage":           {module + "config", module + "interceptors"},
	"state":                {module + "interceptors", module + "observe", "github.com/gofrs/flock"},
	"internal/flakyserver": {"google.golang.org/", "golang.org/x/net/http2", "golang.org/x/net/http2/"},
}

// cores take time and chance as arguments and start nothing.
var cores = []string{"jitter", "codes", "internal/backend", "internal/breaker", "internal/budget", "internal/failure", "internal/field", "internal/hedge", "internal/limit", "internal/retry", "internal/text", "internal/verdict"}

var (
	pure   = []string{"bytes", "cmp", "encoding/json", "errors", "fmt", "iter", "maps", "math", "math/bits", "slices", "strconv", "strings", "unicode/utf8", "time", "sync", "sync/atomic"}
	clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
)

type source struct {
	dir, name string // dir is relative to the module, with slashes
	file      *ast.File
	fset      *token.FileSet
	lines     int
}

func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// sources returns the module's Go files except generated ones. Nested modules
// keep their own rules.
func sources(t *testing.T) (all []source) {
	t.Helper()
	return sourcesIn(t, token.NewFileSet())
}

func sourcesIn(t *testing.T, fset *token.FileSet) (all []source) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(p, "go.mod"))
			if p != root && (nested == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(fset, p, text, parser.ParseComments)
		if err != nil {
			return err
		}
		if ast.IsGenerated(file) {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		all = append(all, source{path.Dir(filepath.ToSlash(rel)), d.Name(), file, fset, bytes.Count(text, []byte("\n"))})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files seen: the test looks in the wrong place", len(all))
	}
	return all
}

func (s source) imports(t *testing.T) (paths []string) {
	t.Helper()
	for _, i := range s.file.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

func standard(path string) bool { return !strings.Contains(strings.SplitN(path, "/", 2)[0], ".") }

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestImportsPointDown(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		allowed, ruled := mayImport[s.dir]
		if !ruled || s.isTest() {
			continue
		}
		seen[s.dir] = true
		for _, p := range s.imports(t) {
			if !standard(p) && !slices.ContainsFunc(allowed, func(a string) bool {
				return p == a || strings.HasSuffix(a, "/") && strings.HasPrefix(p, a)
			}) {
				t.Errorf("%s/%s imports %s: want only %v", s.dir, s.name, p, allowed)
			}
		}
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("no file of %s seen: the rule is out of date", dir)
		}
	}
}

func TestCoresArePure(t *testing.T) {
	for _, s := range sources(t) {
		if !slices.Contains(cores, s.dir) || s.isTest() {
			continue
		}
		for _, i := range s.file.Imports {
			if i.Name != nil && i.Path.Value == `"time"` {
				t.Errorf("%s/%s gives time another name, under which nobody looks for its clock", s.dir, s.name)
			}
		}
		for _, p := range s.imports(t) {
			if standard(p) && !slices.Contains(pure, p) {
				t.Errorf("%s/%s imports %s: a core has no clock, chance, goroutines or I/O; want only %v", s.dir, s.name, p, pure)
			}
			if (p == "sync" || p == "sync/atomic") && s.name != "guard.go" && s.name != "quantile.go" {
				t.Errorf("%s/%s imports %s: only guard.go is for concurrent use", s.dir, s.name, p)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%v: a core starts a goroutine", s.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
					t.Errorf("%v: a core reads the clock: time.%s", s.fset.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestOneUsesTheBalancerAPI: gRPC calls its packages balancer and resolver
// experimental. A change of theirs must break one package, which can be left out.
func TestOneUsesTheBalancerAPI(t *testing.T) {
	linked := 0
	for _, s := range sources(t) {
		if s.isTest() || s.dir == "balancer" {
			continue
		}
		for _, p := range s.imports(t) {
			if s.dir == "astratest" && strings.HasPrefix(p, "google.golang.org/grpc/resolver") {
				continue // several backends of one target, in tests
			}
			if s.dir == "examples/greeter" && strings.HasPrefix(p, "google.golang.org/grpc/resolver") {
				continue // and in a show that has no DNS
			}
			for _, api := range []string{"balancer", "resolver", "serviceconfig", "experimental"} {
				if p == "google.golang.org/grpc/"+api || strings.HasPrefix(p, "google.golang.org/grpc/"+api+"/") {
					t.Errorf("%s/%s imports %s: want package balancer alone to", s.dir, s.name, p)
				}
			}
			if p == module+"balancer" {
				linked++
				if s.dir+"/"+s.name != "interceptors/balancing_link.go" || !constrained(s.file, "!astranobalancer") {
					t.Errorf("%s/%s imports %s: want interceptors/balancing_link.go alone to, built without the tag astranobalancer", s.dir, s.name, p)
				}
			}
		}
	}
	if linked != 1 {
		t.Errorf("%d files link the policy, want 1", linked)
	}
}

// constrained reports whether a file has that build constraint.
func constrained(f *ast.File, constraint string) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Text == "//go:build "+constraint {
				return true
			}
		}
	}
	return false
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() && s.lines > maxLines {
			t.Errorf("%s/%s has %d lines: want at most %d", s.dir, s.name, s.lines, maxLines)
		}
	}
}

// TestNobodyPrintsOrExits: a library speaks through errors, observers and its
// logger.
func TestNobodyPrintsOrExits(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || strings.HasPrefix(s.dir, "examples/") || s.file.Name.Name == "main" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok {
					switch x.Name + "." + sel.Sel.Name {
					case "fmt.Print", "fmt.Println", "fmt.Printf", "os.Exit", "log.Print", "log.Printf", "log.Println", "log.Fatal", "log.Fatalf":
						t.Errorf("%v: %s.%s in a library", s.fset.Position(n.Pos()), x.Name, sel.Sel.Name)
					}
				}
			}
			return true
		})
	}
}
