package schematest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/astra-grpc/astra/config"
)

func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(config.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// documents returns the documents of a folder of config's testdata, as values
// of JSON; those that are none are left out.
func documents(t *testing.T, dir string, least int) map[string]any {
	t.Helper()
	all := map[string]any{}
	paths, err := filepath.Glob(filepath.Join("..", "testdata", dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var v, more any
		dec := yaml.NewDecoder(bytes.NewReader(data))
		if filepath.Ext(path) == ".txt" || dec.Decode(&v) != nil || dec.Decode(&more) == nil {
			continue
		}
		asJSON, err := json.Marshal(v)
		if err != nil {
			continue
		}
		all[filepath.Base(path)] = decode(t, asJSON)
	}
	if len(all) < least {
		t.Fatalf("%d documents in %s", len(all), dir)
	}
	return all
}

func decode(t *testing.T, data []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The rules that a schema cannot say: between fields and between entries, and
// ranges of durations. A document may break them and suit the schema.
var unspeakable = regexp.MustCompile(strings.Join([]string{
	`sets the same field as`,
	`names .*, which (line|is named)`,
	`left out: `,
	`want (>= base|from openFor|<= timeout|only codes of|0 while (slowCall|maxQueue|rate|maxConcurrent and rate) (is|are) 0|false without maxConcurrent|0 or 1 beside)`,
	`"[^"]*" is out of range: want (from [0-9]+m?s to|more than 0s, up to)`,
	`has no effect on kind`,
	`is missing: a (latency|status) needs`,
	`"0\.0{9,}1s" is out of range`,
}, "|"))

// agree compares what schema and decoder say of a document.
func agree(t *testing.T, s *jsonschema.Schema, name string, v any) (accepted bool) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	_, faults := config.Decode(data)
	invalid := s.Validate(decode(t, data))
	switch {
	case faults == nil && invalid != nil:
		t.Errorf("%s: the decoder takes what the schema does not: %v\n%s", name, invalid, data)
	case faults != nil && invalid == nil:
		for _, e := range faults.(interface{ Unwrap() []error }).Unwrap() {
			var f *config.Fault
			if errors.As(e, &f) && !unspeakable.MatchString(f.Error()) {
				t.Errorf("%s: the schema takes what the decoder does not: %v\n%s", name, f, data)
			}
		}
	}
	return faults == nil
}

func TestExamples(t *testing.T) {
	s := compile(t)
	for name, v := range documents(t, "valid", 5) {
		if !agree(t, s, name, v) {
			t.Errorf("%s is not valid", name)
		}
	}
	for name, v := range documents(t, "faults", 2) {
		if agree(t, s, name, v) {
			t.Errorf("%s is valid", name)
		}
	}
}

// TestMutations changes every value of every example, one at a time.
func TestMutations(t *testing.T) {
	var (
		s               = compile(t)
		tried, accepted atomic.Int64
		all             sync.WaitGroup
	)
	for name, v := range documents(t, "valid", 5) {
		all.Go(func() {
			root := map[string]any{"": v}
			mutate(root, func(where string) {
				tried.Add(1)
				if agree(t, s, name+" with another "+where, root[""]) {
					accepted.Add(1)
				}
			})
		})
	}
	all.Wait()
	n, valid := tried.Load(), accepted.Load()
	t.Logf("%d documents, %d of them valid", n, valid)
	if n < 5000 || valid < n/20 || valid > n/2 {
		t.Errorf("%d documents, %d of them valid: these mutations tell little", n, valid)
	}
}

// others are what values are changed to.
func others() []any {
	return []any{
		nil, true, false, "", "x", "a.B", "a/B", "*", "a b", "OK", "UNAVAILABLE", "unavailable", "DeadlineExceeded", "full", "Full", "aws-full",
		"1s", "0s", ".5s", "0.0000000001s", "-1s", "1ms", "1h", "1h30m", "1", "1.5", "1s ", "315576000000s", "0h", "0.5ms", "10ms",
		number("0"), number("-1"), number("1"), number("2"), number("2.0"), number("2.5"), number("0.5"), number("0.0004"), number("0.001"),
		number("10"), number("11"), number("16"), number("17"), number("100"), number("101"), number("1000"), number("1001"), number("1e6"), number("1000001"),
		number("2147483647"), number("2147483648"), number("4294967295"), number("4294967296"), number("1e10"), number("1e300"), number("1e-300"),
		[]any{}, []any{"UNAVAILABLE"}, []any{number("14")}, []any{"nope"}, []any{map[string]any{}}, []any{nil},
		map[string]any{}, map[string]any{"service": "a.B"}, map[string]any{"x": number("1")},
		map[string]any{"UNAVAILABLE": map[string]any{"max": "1h"}}, map[string]any{"base": "1s"},
	}
}

func number(s string) json.Number { return json.Number(s) }

// mutate calls try with every value beneath a container replaced by each of the
// others, left out, and with an unknown key beside it.
func mutate(container any, try func(where string)) {
	switch c := container.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(c)) {
			was := c[key]
			for _, other := range others() {
				c[key] = other
				try(fmt.Sprintf("%s: %v", key, other))
			}
			if key != "" {
				delete(c, key)
				try("nothing for " + key)
				c[key+"s"] = was
				try(key + "s")
				delete(c, key+"s")
			}
			c[key] = was
			mutate(was, try)
		}
	case []any:
		for i, was := range c {
			for _, other := range others() {
				c[i] = other
				try(fmt.Sprintf("[%d]: %v", i, other))
			}
			c[i] = was
			mutate(was, try)
		}
	}
}
