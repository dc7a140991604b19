package config

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// leaves calls f with the shape, type and path of every key of ours that holds
// no object, those of a table's items included.
func leaves(t *testing.T, s *objectShape, typ reflect.Type, keys, fields []string, f func(s shape, typ reflect.Type, keys, fields []string)) {
	t.Helper()
	for _, field := range s.fields {
		sf, ok := typ.FieldByName(field.member)
		if !ok {
			t.Fatalf("%s has no field %s", typ, field.member)
		}
		inKeys, inFields := slices.Concat(keys, []string{field.key}), slices.Concat(fields, []string{field.member})
		if inner, ok := field.shape.(*objectShape); ok {
			leaves(t, inner, sf.Type, inKeys, inFields, f)
			continue
		}
		f(field.shape, sf.Type, inKeys, inFields)
	}
}

// documentOf puts a value under nested keys of an entry's astra object.
func documentOf(t *testing.T, keys []string, v any, beside ...string) []byte {
	t.Helper()
	astra := map[string]any{}
	put := func(keys []string, v any) {
		at := astra
		for _, k := range keys[:len(keys)-1] {
			inner, ok := at[k].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[k] = inner
			}
			at = inner
		}
		at[keys[len(keys)-1]] = v
	}
	for _, pair := range beside { // "breaker.slowCall=1ms"
		path, value, _ := strings.Cut(pair, "=")
		if n, err := strconv.Atoi(value); err == nil {
			put(strings.Split(path, "."), n)
		} else {
			put(strings.Split(path, "."), value)
		}
	}
	put(keys, v)
	data, err := json.Marshal(map[string]any{"methodConfig": []any{map[string]any{"name": []any{map[string]any{}}, "astra": astra}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// needs are keys that others need beside them.
var needs = map[string][]string{
	"breaker.slowRate":   {"breaker.slowCall=1ms"},
	"breaker.maxOpenFor": {"breaker.openFor=1ms"},
	"retry.backoff.max":  {"retry.backoff.base=1ns"},
	"limit.adaptive":     {"limit.maxConcurrent=9"},
	"limit.maxQueue":     {"limit.maxConcurrent=9"},
	"limit.maxWait":      {"limit.maxConcurrent=9", "limit.maxQueue=9"},
	"limit.burst":        {"limit.rate=9"},
}

// TestEveryFieldHasAKey: what a key holds arrives in the field of its name, and
// nowhere else.
func TestEveryFieldHasAKey(t *testing.T) {
	count := 0
	leaves(t, policyShape(), reflect.TypeFor[interceptors.Policy](), nil, nil, func(s shape, _ reflect.Type, keys, fields []string) {
		var (
			key    = strings.Join(keys, ".")
			field  = strings.Join(fields, ".")
			values []any // the first that is allowed counts
			want   func(v any) any
			same   = func(v any) any { return v }
		)
		switch s := s.(type) {
		case integer:
			values, want = []any{2, 7, 1000}, same
		case real:
			values, want = []any{0.25, 2.5}, same
		case duration:
			values, want = []any{"20ms", "1.5s"}, func(v any) any {
				d, err := time.ParseDuration(v.(string))
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
		case boolFlag:
			values, want = []any{true}, same
		case codeSet:
			values, want = []any{[]string{"INTERNAL", "aborted"}}, func(any) any { return astracodes.Of(codes.Internal, codes.Aborted) }
		case word:
			values, want = []any{"none", "unsent", "observe"}, func(v any) any {
				switch v {
				case "unsent":
					return interceptors.RepeatUnsent
				case "observe":
					return interceptors.ModeObserve
				}
				return jitter.None
			}
		case perCode:
			values, want = []any{map[string]any{"Unavailable": map[string]any{"base": "1s", "max": "2s", "multiplier": 3, "jitter": "equal"}}}, func(any) any {
				return map[codes.Code]jitter.Backoff{codes.Unavailable: {Base: time.Second, Max: 2 * time.Second, Multiplier: 3, Jitter: jitter.Equal}}
			}
		default:
			t.Errorf("no key of a file sets Policy.%s: its shape is %T", field, s)
			return
		}
		var err error
		for _, v := range values {
			var d *Document
			if d, err = Decode(documentOf(t, keys, v, needs[key]...)); err != nil {
				continue
			}
			count++
			p := d.Policies()["*"]
			if got := fieldAt(&p, field).Interface(); !reflect.DeepEqual(got, want(v)) {
				t.Errorf("astra.%s: %v makes Policy.%s %v, want %v", key, v, field, got, want(v))
			}
			// Taken out again, with what it needed, nothing is left.
			fieldAt(&p, field).SetZero()
			for _, pair := range needs[key] {
				name, _, _ := strings.Cut(pair, "=")
				fieldAt(&p, goPath(t, name)).SetZero()
			}
			if p.Retry.MaxAttempts == 1 { // as it must be where an entry says nothing of retries
				p.Retry.MaxAttempts = 0
			}
			if !reflect.DeepEqual(p, interceptors.Policy{}) {
				t.Errorf("astra.%s sets more than Policy.%s: %+v", key, field, p)
			}
			return
		}
		t.Errorf("astra.%s takes none of %v: %v", key, values, err)
	})
	if count < 25 {
		t.Errorf("%d keys tried: the test looks in the wrong place", count)
	}
}

// TestDocHasEveryKey: the grammar in the package's documentation is whole. The list
// of our keys is written by -update.
func TestDocHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	text, want := string(data), ownKeys(policyShape())
	list := regexp.MustCompile(`(?m)^//\ttimeout, (//\t.*\n|.*\n)*?//\n`)
	switch got := list.FindString(text); {
	case got == "":
		t.Fatal("doc.go has no list of our keys: the test looks in the wrong place")
	case got == want:
	case flag.Lookup("update").Value.String() == "true":
		if err := os.WriteFile("doc.go", []byte(strings.Replace(text, got, want, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("doc.go lists our keys as\n%s\nwant (or go test ./config -update)\n%s", got, want)
	}
	has := func(section, key string) bool { return regexp.MustCompile(`\b` + key + `\b`).MatchString(section) }
	_, theirs, _ := strings.Cut(text, "# The document")
	theirs, _, _ = strings.Cut(theirs, "# Our keys")
	for _, o := range []*objectShape{document, methodConfig, retryPolicy, hedgingPolicy, throttling} {
		for _, f := range o.fields {
			if !has(theirs, f.key) && f.key != "$schema" && f.key != "chaos" {
				t.Errorf("doc.go lacks %s", f.key)
			}
		}
	}
	_, chaos, _ := strings.Cut(text, "# Chaos")
	chaos, _, _ = strings.Cut(chaos, "# Values")
	for _, o := range []*objectShape{chaosPlan, chaosFault} {
		for _, f := range o.fields {
			if !has(chaos, f.key) {
				t.Errorf("doc.go lacks chaos.%s", f.key)
			}
		}
	}
}

// goPath finds the field of a key.
func goPath(t *testing.T, key string) (path string) {
	t.Helper()
	leaves(t, policyShape(), reflect.TypeFor[interceptors.Policy](), nil, nil, func(_ shape, _ reflect.Type, keys, fields []string) {
		if strings.Join(keys, ".") == key {
			path = strings.Join(fields, ".")
		}
	})
	return path
}

// TestZeroIsAFault: what stands for a default in Go is not taken for it in a
// file, and what is reported is the range, without the zero.
func TestZeroIsAFault(t *testing.T) {
	leaves(t, policyShape(), reflect.TypeFor[interceptors.Policy](), nil, nil, func(s shape, _ reflect.Type, keys, fields []string) {
		var zeros []any
		switch s.(type) {
		case integer:
			zeros = []any{0, -1}
		case real:
			zeros = []any{0, -0.5, 0.0}
		case duration:
			zeros = []any{"0s", "-1s", "0h0m"}
		}
		key := "methodConfig[0].astra." + strings.Join(keys, ".")
		for _, v := range zeros {
			_, err := Decode(documentOf(t, keys, v))
			written := fmt.Sprintf("%v", v)
			if s, ok := v.(string); ok {
				written = fmt.Sprintf("%q", s)
			}
			if err == nil || !strings.Contains(err.Error(), key+": "+written+" is out of range: want ") || strings.Contains(err.Error(), "default") {
				t.Errorf("%s: %s is reported as\n%v", strings.Join(fields, "."), written, err)
			}
		}
	})
}

// TestLimitsOfA6AreOurs: what a service config is cut to is what a policy takes.
func TestLimitsOfA6AreOurs(t *testing.T) {
	for path, most := range map[string]float64{
		"Retry.MaxAttempts": maxRetryAttempts,
		"Hedge.MaxAttempts": maxHedgeAttempts,
		"Budget.Ratio":      maxRatio,
	} {
		if _, highest := bounds(t, path); highest != most {
			t.Errorf("%s may be %v, a service config is cut to %v", path, highest, most)
		}
	}
	if lowest, highest := bounds(t, "Budget.Burst"); lowest > 1 || highest < 500 {
		t.Errorf("Budget.Burst may be from %v to %v, maxTokens asks for 1 to 500", lowest, highest)
	}
}

func TestKeyOf(t *testing.T) {
	for name, want := range map[string]string{
		"MaxAttempts": "maxAttempts", "Retry": "retry", "TTL": "ttl", "IDLength": "idLength", "ProbeTTL": "probeTTL", "P95": "p95", "A": "a",
	} {
		if got := keyOf(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// ownKeys returns the list of the keys of astra, as doc.go has it.
func ownKeys(s *objectShape) string {
	var b strings.Builder
	line := func(name string, keys []string) {
		const indent, width = "//\t           ", 82
		at, _ := b.WriteString("//\t" + name)
		for i, key := range keys {
			if i < len(keys)-1 {
				key += ","
			}
			if at+1+len(key) > width {
				at, _ = b.WriteString("\n" + indent)
			} else if i > 0 {
				key = " " + key
			}
			b.WriteString(key)
			at += len(key)
		}
		b.WriteByte('\n')
	}
	var object func(name string, s *objectShape, indent string)
	object = func(name string, s *objectShape, indent string) {
		var keys []string
		for _, f := range s.fields {
			switch f.shape.(type) {
			case *objectShape, perCode:
			default:
				keys = append(keys, f.key)
			}
		}
		if name != "" {
			name = fmt.Sprintf("%-11s", indent+name)
			indent += "  "
		}
		line(name, keys)
		for _, f := range s.fields {
			switch inner := f.shape.(type) {
			case *objectShape:
				object(f.key, inner, indent)
			case perCode:
				item := inner.item.(*objectShape)
				keys := []string{"an object for each code: " + item.fields[0].key}
				for _, f := range item.fields[1:] {
					keys = append(keys, f.key)
				}
				line(fmt.Sprintf("%-11s", indent+f.key), keys)
			}
		}
	}
	object("", s, "")
	b.WriteString("//\n")
	return b.String()
}
