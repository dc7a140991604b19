package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/astra-grpc/astra/config"
)

// TestTwoReaders: valid JSON has a reader of its own, which reads it as that of
// YAML does. A comment at the end makes it YAML, and nothing else of it.
func TestTwoReaders(t *testing.T) {
	docs := []string{
		`{"methodConfig": [{"name": [{}], "timeout": "x\u00fc\n\"", "retryPolicy": {"maxAttempts": 1e0}, "astra": {"budget": {"ratio": -1.5E+1}}, "x": [null, true, {}, []]}]}`,
		"\n{\n\t\"methodConfig\"\t:\n\t[ {\"timeout\":\"ä\"} ,\n {\"timeout\" : 5,\"ü\":0, \"timeout\": \"1s\"}]\r\n}\n",
		`[]`, `5`, `"x"`, `null`, `{"a": {"b": 1, "b": 2}}`,
	}
	for _, path := range documents(t, "valid") {
		data, err := os.ReadFile(path)
		must(t, err)
		if filepath.Ext(path) == ".json" {
			docs = append(docs, string(data))
		}
	}
	for _, doc := range docs {
		asJSON, jsonErr := config.Decode([]byte(doc))
		asYAML, yamlErr := config.Decode([]byte(doc + "\n# YAML\n"))
		if fmt.Sprint(jsonErr) != fmt.Sprint(yamlErr) {
			t.Errorf("%s\nas JSON: %v\nas YAML: %v", doc, jsonErr, yamlErr)
		}
		if jsonErr == nil && (!reflect.DeepEqual(asJSON.Policies(), asYAML.Policies()) || !reflect.DeepEqual(asJSON.Warnings(), asYAML.Warnings())) {
			t.Errorf("%s\nas JSON: %v\nas YAML: %v", doc, describe(asJSON), describe(asYAML))
		}
	}
}

func wantFault(t *testing.T, doc, part string) {
	t.Helper()
	if _, err := config.Decode([]byte(doc)); err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("%.80q: no fault says %q in:\n%.500v", doc, part, err)
	}
}

func TestBounds(t *testing.T) {
	wide := func(n int) string {
		return `{"loadBalancingConfig": [` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `]}`
	}
	deep := func(n int) string {
		return `{"loadBalancingConfig": ` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`
	}
	for _, end := range []string{"", "\n#\n"} { // JSON, YAML
		for _, doc := range []string{
			wide(config.MaxNodes-2) + end, deep(config.MaxDepth-1) + end, wide(1) + strings.Repeat(" ", config.MaxBytes-len(wide(1)+end)) + end,
		} {
			if _, err := config.Decode([]byte(doc)); err != nil {
				t.Errorf("%.40q: %v", doc, err)
			}
		}
		wantFault(t, wide(config.MaxNodes-1)+end, "has too many values: want at most 100000")
		wantFault(t, deep(config.MaxDepth)+end, "is nested too deeply: want at most 50 levels")
		wantFault(t, wide(1)+strings.Repeat(" ", config.MaxBytes-len(wide(1)+end)+1)+end, "is too large: want at most 1048576 bytes")
	}
}

// TestManyFaults: of a file of another kind not every line is reported.
func TestManyFaults(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, err := config.Decode([]byte(b.String()))
	all := err.(interface{ Unwrap() []error }).Unwrap()
	if len(all) != 101 || all[100].Error() != "has 900 more faults" {
		t.Errorf("%d faults, the last %v", len(all), all[len(all)-1])
	}
}

func TestFaultText(t *testing.T) {
	for _, tc := range []struct {
		fault config.Fault
		want  string
	}{
		{config.Fault{File: "f", Line: 1, Column: 2, Key: "k", Value: "v", Problem: "p"}, "f:1:2: k: v p"},
		{config.Fault{File: "f", Line: 1, Key: "k", Problem: "p"}, "f:1: k: p"},
		{config.Fault{File: "f", Problem: "p"}, "f: p"},
		{config.Fault{Line: 1, Column: 2, Key: "k", Problem: "p"}, "line 1, column 2: k: p"},
		{config.Fault{Line: 1, Value: "v", Problem: "p"}, "line 1: v p"},
		{config.Fault{Problem: "p"}, "p"},
	} {
		if got := tc.fault.Error(); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
	_, err := config.Load("nowhere.yaml")
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != "nowhere.yaml: cannot be read: no such file or directory" {
		t.Error(err)
	}
}

// TestMergeKeys: what stands in an object counts more than what is merged, and
// what is merged first more than what comes later.
func TestMergeKeys(t *testing.T) {
	d, err := config.Decode([]byte(`
methodConfig:
- name: [{service: a.A}]
  astra: &a {budget: {ratio: 0.1}, timeout: 1s}
- name: [{service: a.B}]
  astra: &b {timeout: 2s, attemptTimeout: 2s}
- name: [{service: a.C}]
  astra: {<<: [*a, *b], attemptTimeout: 0.5s}
- name: [{service: a.D}]
  astra:
    <<: *b
`))
	must(t, err)
	c, again := d.Policies()["/a.C/*"], d.Policies()["/a.D/*"]
	if c.Budget.Ratio != 0.1 || c.Timeout.String() != "1s" || c.AttemptTimeout.String() != "500ms" {
		t.Errorf("%+v", c)
	}
	if again.Timeout.String() != "2s" || again.AttemptTimeout.String() != "2s" {
		t.Errorf("%+v", again)
	}
}
