package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/astra-grpc/astra/config"
)

// imported is a policy file in the making.
type imported struct {
	entries []*importedEntry
	budget  map[string]any // retryThrottling
	notes   []string       // what has no counterpart
}

type importedEntry struct {
	names   []any
	comment string
	body    map[string]any // keys of gRPC, and astra
}

func (im *imported) note(where, format string, args ...any) {
	im.notes = append(im.notes, where+": "+fmt.Sprintf(format, args...))
}

func (e *importedEntry) astra(section string) map[string]any {
	own, _ := e.body["astra"].(map[string]any)
	if own == nil {
		own = map[string]any{}
		e.body["astra"] = own
	}
	if section == "" {
		return own
	}
	inner, _ := own[section].(map[string]any)
	if inner == nil {
		inner = map[string]any{}
		own[section] = inner
	}
	return inner
}

// importers read each a format.
var importers = map[string]func(*imported, []map[string]any){
	"grpc": importGRPC, "envoy": importEnvoy, "istio": importIstio, "linkerd": importLinkerd,
}

var importCommand = command{
	name: "import", args: "FILE", short: "make a policy file of another project's",
	long: `Import reads a retry or outlier configuration, YAML or JSON, and prints a policy
file, with a comment for everything that has no counterpart:

  grpc      gRPC service config
  envoy     routes with retry_policy, clusters with outlier_detection and
            circuit_breakers
  istio     VirtualService and DestinationRule
  linkerd   Service with the annotations retry.linkerd.io and
            timeout.linkerd.io and balancer.linkerd.io

"-" is the standard input. Without -from, the format is told by what it has.
The result is read back before it is printed, so it has no faults; lint it for
warnings.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		from := f.String("from", "", "`format` of the file: grpc, envoy, istio or linkerd")
		return func(s *streams, args []string) error {
			if len(args) != 1 {
				return usagef("want one FILE")
			}
			if _, ok := importers[*from]; !ok && *from != "" {
				return usagef("-from %q: want grpc, envoy, istio or linkerd", *from)
			}
			data, name, err := read(s, args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			docs, err := documents(data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			format := *from
			if format == "" {
				if format = guess(docs); format == "" {
					return usagef("%s is of none of the formats known: give -from", name)
				}
			}
			im := &imported{}
			importers[format](im, docs)
			text, err := im.text(format, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			_, err = s.out.Write(text)
			return err
		}
	},
}

// documents reads all documents of a YAML stream that are objects.
func documents(data []byte) (all []map[string]any, err error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc map[string]any
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if items := list(doc["items"]); items != nil { // a List, as kubectl prints it
			all = append(all, objects(items)...)
		} else if doc != nil {
			all = append(all, doc)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("has no object")
	}
	return all, nil
}

func guess(docs []map[string]any) string {
	for _, doc := range docs {
		kind := str(doc["kind"])
		switch {
		case kind == "VirtualService" || kind == "DestinationRule":
			return "istio"
		case kind == "Service":
			return "linkerd"
		case doc["methodConfig"] != nil || doc["retryThrottling"] != nil || doc["loadBalancingConfig"] != nil:
			return "grpc"
		case len(everywhere(doc, "retry_policy")) > 0 || len(everywhere(doc, "outlier_detection")) > 0 || len(everywhere(doc, "routes")) > 0:
			return "envoy"
		}
	}
	return ""
}

// text is the policy file, which is sure to have no faults.
func (im *imported) text(format, name string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# From %s (%s), by astra import.\n", name, format)
	for _, n := range im.notes {
		fmt.Fprintf(&b, "# No counterpart: %s\n", strings.ReplaceAll(n, "\n", " "))
	}
	if len(im.entries) == 0 && im.budget == nil {
		b.WriteString("{}\n")
		return b.Bytes(), nil
	}
	if len(im.entries) > 0 {
		b.WriteString("methodConfig:\n")
	}
	for _, e := range im.entries {
		if e.comment != "" {
			fmt.Fprintf(&b, "# %s\n", e.comment)
		}
		e.body["name"] = e.names
		if err := encode(&b, []any{ordered(e.body)}); err != nil {
			return nil, err
		}
	}
	if im.budget != nil {
		if err := encode(&b, ordered(map[string]any{"retryThrottling": im.budget})); err != nil {
			return nil, err
		}
	}
	if _, err := config.Decode(b.Bytes()); err != nil {
		return nil, fmt.Errorf("what it says cannot be said in a policy file: %w", err)
	}
	return b.Bytes(), nil
}

func encode(b *bytes.Buffer, v any) error {
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return err
	}
	return e.Close()
}

// keyOrder is that of a policy file; other keys come after, by name.
var keyOrder = []string{"$schema", "name", "service", "method", "timeout", "retryPolicy", "hedgingPolicy", "maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes", "astra", "methodConfig", "retryThrottling"}

// ordered is an object with its keys in the order of a policy file.
func ordered(v any) *yaml.Node {
	switch v := v.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		rank := func(k string) int {
			if i := slices.Index(keyOrder, k); i >= 0 {
				return i
			}
			return len(keyOrder)
		}
		slices.SortFunc(keys, func(a, b string) int {
			if d := rank(a) - rank(b); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		for _, k := range keys {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: k}, ordered(v[k]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, each := range v {
			item := ordered(each)
			n.Content = append(n.Content, item)
			for _, inner := range item.Content {
				if inner.Kind != yaml.ScalarNode {
					n.Style = 0
				}
			}
		}
		return n
	}
	n := &yaml.Node{}
	_ = n.Encode(v) // scalars
	return n
}

// Values of another project's file, which may be of any type.

func str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return ""
	}
	return fmt.Sprint(v)
}

func object(v any, path ...string) map[string]any {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	m, _ := v.(map[string]any)
	return m
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

func objects(all []any) (some []map[string]any) {
	for _, v := range all {
		if m, ok := v.(map[string]any); ok {
			some = append(some, m)
		}
	}
	return some
}

func number(v any) (float64, bool) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(str(v), "%"), 64)
	return f, err == nil
}

// length reads a duration: "1.5s", "250ms", or a protobuf's {seconds, nanos}.
func length(v any) (time.Duration, bool) {
	if m, ok := v.(map[string]any); ok {
		s, _ := number(m["seconds"])
		n, _ := number(m["nanos"])
		d := time.Duration(s*1e9 + n)
		return d, d > 0
	}
	d, err := time.ParseDuration(str(v))
	return d, err == nil && d > 0
}

// everywhere returns all values of a key, at any depth.
func everywhere(v any, key string) (all []any) {
	switch v := v.(type) {
	case map[string]any:
		if it, ok := v[key]; ok {
			all = append(all, it)
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			all = append(all, everywhere(v[k], key)...)
		}
	case []any:
		for _, each := range v {
			all = append(all, everywhere(each, key)...)
		}
	}
	return all
}
