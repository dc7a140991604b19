package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

var update = flag.Bool("update", false, "write the golden files")

// command runs astra in testdata, as from a shell, and returns all it prints.
func shell(t *testing.T, in string, args ...string) (out string, code int) {
	t.Helper()
	t.Chdir("testdata")
	var b bytes.Buffer
	code = run(&streams{in: strings.NewReader(in), out: &b, err: &b}, args)
	return b.String(), code
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what came (go test ./cmd/astra -update writes it):\n%s", path, got)
	}
}

// goldens are commands whose output is kept, beside their exit codes.
var goldens = []struct {
	name, in string
	args     []string
}{
	{name: "usage", args: nil},
	{name: "help-all", args: []string{"help", "all"}},
	{name: "unknown", args: []string{"lnit"}},
	{name: "bad-flag", args: []string{"lint", "-z"}},
	{name: "rules", args: []string{"rules"}},
	{name: "lint", args: []string{"lint", "shop.yaml"}},
	{name: "lint-descriptors", args: []string{"lint", "-descriptors", "shop.binpb", "shop.yaml"}},
	{name: "lint-json", args: []string{"lint", "-o", "json", "-descriptors", "shop.binpb", "shop.yaml"}},
	{name: "lint-sarif", args: []string{"lint", "-o", "sarif", "-descriptors", "shop.binpb", "shop.yaml"}},
	{name: "lint-off", args: []string{"lint", "shop.yaml", "-off", "attempt-never-starts,queue-without-end"}},
	{name: "lint-off-fault", args: []string{"lint", "shop.yaml", "-off", "invalid"}},
	{name: "lint-off-file", in: "# astra:off unnamed-entry\nmethodConfig: [{timeout: 1s}] # astra:off nonsense\n", args: []string{"lint", "-"}},
	{name: "lint-quiet", args: []string{"lint", "-q", "shop.yaml"}},
	{name: "lint-missing", args: []string{"lint", "nowhere.yaml"}},
	{name: "lint-faults", in: "methodConfig:\n- name: [{service: a.B}]\n  retryPolicy: {maxAttempts: 1}\n  timout: 1s\n", args: []string{"lint", "-"}},
	{name: "lint-fine", in: "{}", args: []string{"lint", "-"}},
	{name: "convert-json", args: []string{"convert", "shop.yaml"}},
	{name: "convert-yaml", args: []string{"convert", "import/grpc.json"}},
	{name: "convert-faulty", in: "methodConfig: 1", args: []string{"convert", "-"}},
	{name: "import-grpc", args: []string{"import", "-from", "grpc", "import/grpc.json"}},
	{name: "import-envoy", args: []string{"import", "-from", "envoy", "import/envoy.yaml"}},
	{name: "import-istio", args: []string{"import", "-from", "istio", "import/istio.yaml"}},
	{name: "import-linkerd", args: []string{"import", "-from", "linkerd", "import/linkerd.yaml"}},
	{name: "import-nothing", in: "a: 1", args: []string{"import", "-from", "envoy", "-"}},
	{name: "import-usage", args: []string{"import", "-from", "nginx", "import/envoy.yaml"}},
	{name: "completion-bash", args: []string{"completion", "bash"}},
	{name: "completion-zsh", args: []string{"completion", "zsh"}},
	{name: "completion-fish", args: []string{"completion", "fish"}},
	{name: "completion-usage", args: []string{"completion", "tcsh"}},
}

func TestGoldens(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			out, code := shell(t, g.in, g.args...)
			golden(t, g.name+".txt", fmt.Sprintf("%sexit code %d\n", out, code))
		})
	}
}

// TestLintFindsPlantedFaults: eight faults among thirty methods, by their
// rules, at once.
func TestLintFindsPlantedFaults(t *testing.T) {
	began := time.Now()
	out, code := shell(t, "", "lint", "-descriptors", "shop.binpb", "shop.yaml")
	took := time.Since(began)
	if code != exitFindings {
		t.Errorf("exit code %d: want %d", code, exitFindings)
	}
	for _, want := range []string{
		"shop.yaml:13:", "[unknown-method]", "[timeout-on-stream]", "[attempt-never-starts]", "[repeat-not-idempotent]",
		"[breaker-too-short]", "[hedge-write]", "[queue-without-end]", "[budget-too-small]",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if lines := strings.Count(out, "\n"); lines != 8 {
		t.Errorf("%d lines: want the 8 planted faults and no other:\n%s", lines, out)
	}
	t.Logf("linted in %v", took)
	if took > 200*time.Millisecond && !testing.Short() {
		t.Errorf("took %v: want at most 200 ms", took)
	}
}

// TestEachTextHasItsRule: what package config warns of is none of the rules'
// leftovers.
func TestEachTextHasItsRule(t *testing.T) {
	files, err := filepath.Glob("../../config/testdata/*/*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range (&linter{}).lint(file, data) {
			seen[f.Rule] = true
			if _, ok := ruleNamed(f.Rule); !ok {
				t.Errorf("no rule %q: %v", f.Rule, f)
			}
		}
	}
	for _, r := range rules {
		if r.fault && !seen[r.name] {
			t.Errorf("rule %s: no file in package config's testdata has such a fault", r.name)
		}
	}
}

func TestHelpFitsAScreen(t *testing.T) {
	for _, c := range commands() {
		out, _ := shell(t, "", c.name, "-h")
		if lines := strings.Count(out, "\n"); lines > 45 {
			t.Errorf("astra %s -h has %d lines: want one screen", c.name, lines)
		}
		for line := range strings.Lines(out) {
			if len([]rune(line)) > 101 {
				t.Errorf("astra %s -h: too wide: %s", c.name, line)
			}
		}
		t.Chdir("..")
	}
}

// TestDescriptors keeps the descriptors of the shop.
func TestDescriptors(t *testing.T) {
	const idempotent, reads = descriptorpb.MethodOptions_IDEMPOTENT, descriptorpb.MethodOptions_NO_SIDE_EFFECTS
	file := &descriptorpb.FileDescriptorProto{
		Name: proto.String("shop/v1/shop.proto"), Package: proto.String("shop.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Message")}},
	}
	for _, s := range []struct {
		name    string
		methods string // idempotent with ?, without side effects with !, server streams with *
	}{
		{"Catalog", "Get! List! Search! Suggest! Watch!* Price! Stock!"},
		{"Cart", "Get! Put? Clear? Count! Merge? Total!"},
		{"Payment", "Authorize Capture Refund Void Get! List!"},
		{"Orders", "Place Cancel? Get! List! Track! Ship"},
		{"Accounts", "Create Get! Update? Delete? Login"},
	} {
		service := &descriptorpb.ServiceDescriptorProto{Name: proto.String(s.name)}
		for name := range strings.FieldsSeq(s.methods) {
			m := &descriptorpb.MethodDescriptorProto{
				Name: proto.String(strings.TrimRight(name, "?!*")), InputType: proto.String(".shop.v1.Message"), OutputType: proto.String(".shop.v1.Message"),
			}
			switch {
			case strings.Contains(name, "?"):
				m.Options = &descriptorpb.MethodOptions{IdempotencyLevel: idempotent.Enum()}
			case strings.Contains(name, "!"):
				m.Options = &descriptorpb.MethodOptions{IdempotencyLevel: reads.Enum()}
			}
			if strings.Contains(name, "*") {
				m.ServerStreaming = proto.Bool(true)
			}
			service.Method = append(service.Method, m)
		}
		file.Service = append(file.Service, service)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/shop.binpb", data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile("testdata/shop.binpb")
	if err != nil || !bytes.Equal(kept, data) {
		t.Errorf("testdata/shop.binpb is out of date (%v): go test ./cmd/astra -update", err)
	}
}

// TestFilesWithoutEnd: a device is refused like any file that is too large.
func TestFilesWithoutEnd(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip(err)
	}
	for _, args := range [][]string{{"lint", "/dev/zero"}, {"convert", "/dev/zero"}, {"import", "-from", "envoy", "/dev/zero"}, {"lint", "-descriptors", "/dev/zero", "shop.yaml"}} {
		t.Run(args[0], func(t *testing.T) {
			if out, code := shell(t, "", args...); code == 0 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "more than 67108864 bytes") {
				t.Errorf("%v: %d %q", args, code, out)
			}
		})
	}
}
