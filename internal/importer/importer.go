// Package importer makes policy files of how other systems are configured for
// retries, timeouts and ejection: gRPC's service config, Envoy's routes and
// clusters, Linkerd's annotations, Istio's VirtualService and DestinationRule.
// What has no counterpart is returned as notes: nothing is left out silently.
package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Note is something of the source that the policy file does not have, or has
// otherwise.
type Note struct {
	Where string // its path in the source
	What  string
}

// String returns "path: what".
func (n Note) String() string { return n.Where + ": " + n.What }

// Formats are what can be read.
var Formats = []string{"grpc", "envoy", "linkerd", "istio"}

// Import returns the policy file that a source comes to, in YAML, with a comment
// for each note, and the notes. The source may be several documents.
func Import(format string, data []byte) ([]byte, []Note, error) {
	read, ok := map[string]func(*reader, *object){"grpc": fromGRPC, "envoy": fromEnvoy, "linkerd": fromLinkerd, "istio": fromIstio}[format]
	if !ok {
		return nil, nil, fmt.Errorf("format %q: want one of %s", format, strings.Join(Formats, ", "))
	}
	r := &reader{}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc any
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if m, ok := doc.(map[string]any); ok {
			read(r, r.object("", m))
		}
	}
	r.rest()
	if len(r.entries) == 0 && len(r.top) == 0 {
		return nil, r.notes, fmt.Errorf("nothing of format %s found that a policy file could have", format)
	}
	out, err := r.write(format)
	return out, r.notes, err
}

// reader collects what the source comes to.
type reader struct {
	entries []*entry
	top     []pair // beside methodConfig
	notes   []Note
	objects []*object
}

// pair is a key and its value, of an object whose order matters.
type pair struct {
	key   string
	value any // string, float64, int, []string, []pair, []any
}

// entry is a policy.
type entry struct {
	names [][2]string // service, method; "" is any
	pairs []pair
}

func (r *reader) note(where, what string) {
	n := Note{strings.TrimPrefix(where, "."), what}
	if !slices.Contains(r.notes, n) {
		r.notes = append(r.notes, n)
	}
}

// rest notes what nobody has asked for.
func (r *reader) rest() {
	for _, o := range r.objects {
		for _, path := range o.unused() {
			r.note(path, "has no counterpart, and is left out")
		}
	}
}

// set adds a pair unless the value is empty.
func set(pairs *[]pair, key string, value any) {
	switch v := value.(type) {
	case nil:
		return
	case string:
		if v == "" {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case []pair:
		if len(v) == 0 {
			return
		}
	case float64:
		if v == 0 {
			return
		}
	case int:
		if v == 0 {
			return
		}
	}
	*pairs = append(*pairs, pair{key, value})
}

func (r *reader) write(format string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Imported from a configuration of %s by astra import.\n", format)
	for _, n := range r.notes {
		fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(n.String(), "\n", " "))
	}
	doc := &yaml.Node{Kind: yaml.MappingNode}
	if len(r.entries) > 0 {
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range r.entries {
			names := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, n := range e.names {
				var p []pair
				set(&p, "service", n[0])
				set(&p, "method", n[1])
				names.Content = append(names.Content, node(p))
			}
			item := node(e.pairs)
			item.Content = append([]*yaml.Node{{Kind: yaml.ScalarNode, Value: "name"}, names}, item.Content...)
			list.Content = append(list.Content, item)
		}
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "methodConfig"}, list)
	}
	doc.Content = append(doc.Content, node(r.top).Content...)
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

// node returns a value as YAML.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case []pair:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, p := range v {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: p.key}, node(p.value))
		}
		return n
	default:
		n := &yaml.Node{}
		if err := n.Encode(v); err != nil {
			return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
		}
		if n.Kind == yaml.SequenceNode {
			n.Style = yaml.FlowStyle
		}
		return n
	}
}
