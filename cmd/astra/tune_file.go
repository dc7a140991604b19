package main

import (
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file is the document with other values.
func (t *tuner) file(values []float64) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(t.data, &root); err != nil {
		return nil, err
	}
	entry := member(root.Content[0], "methodConfig").Content[t.index]
	for i, k := range t.knobs {
		if !math.IsNaN(values[i]) {
			set(entry, k, values[i])
		}
	}
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&root); err != nil {
		return nil, err
	}
	return []byte(b.String()), e.Close()
}

// set writes a knob where the entry has it, or could.
func set(entry *yaml.Node, k knob, v float64) {
	text := k.text(v)
	if p := member(entry, "retryPolicy"); p != nil && strings.HasPrefix(k.key, "retry.") {
		key := "maxAttempts"
		if k.kind == 'd' {
			key, text = "initialBackoff", strconv.FormatFloat(math.Round(v*1e3)/1e3, 'f', -1, 64)+"s"
		}
		if at := member(p, key); at != nil {
			at.Value = text
			return
		}
	}
	at := child(entry, "astra")
	parts := strings.Split(k.key, ".")
	for _, part := range parts[:len(parts)-1] {
		at = child(at, part)
	}
	last := child(at, parts[len(parts)-1])
	last.Kind, last.Tag, last.Value, last.Content = yaml.ScalarNode, "", text, nil
}

func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// child is a member, made if it is missing.
func child(n *yaml.Node, key string) *yaml.Node {
	if m := member(n, key); m != nil {
		return m
	}
	m := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, m)
	return m
}
