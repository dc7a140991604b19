package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/astra-grpc/astra/config"
)

var convertCommand = command{
	name: "convert", args: "FILE",
	short: "write a policy file as JSON, or as YAML",
	long: `
A file in YAML is written as JSON, and one in JSON as YAML, with the keys in their
order; comments are not in JSON. The file is checked first, and the result has
the same policies.`,
	setup: func(*flag.FlagSet) func(*streams, []string) error {
		return func(s *streams, files []string) error {
			if len(files) != 1 {
				return usagef("want one file")
			}
			data, name, err := read(s, files[0])
			if err != nil {
				return err
			}
			if _, err := config.Decode(data); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			out, err := convert(data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			_, err = s.out.Write(out)
			return err
		}
	},
}

// convert returns a document in the other language.
func convert(data []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return nil, err
	}
	if json.Valid(data) {
		block(&root)
		return encodeYAML(&root)
	}
	var b bytes.Buffer
	if err := writeNode(&b, &root); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	return append(out.Bytes(), '\n'), nil
}

func encodeYAML(root any) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// block has a node of JSON written as people write YAML.
func block(n *yaml.Node) {
	n.Style = 0
	short := n.Kind == yaml.SequenceNode
	for _, c := range n.Content {
		block(c)
		short = short && c.Kind == yaml.ScalarNode
	}
	if short {
		n.Style = yaml.FlowStyle
	}
}

// writeNode writes a node as JSON, in the order of its keys.
func writeNode(b *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		return writeNode(b, n.Content[0])
	case yaml.AliasNode:
		return writeNode(b, n.Alias)
	case yaml.MappingNode:
		return writeMapping(b, n)
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeNode(b, c); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	default:
		return writeScalar(b, n)
	}
}

func writeMapping(b *bytes.Buffer, n *yaml.Node) error {
	var merged map[string]any
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Tag == "!!merge" {
			if err := n.Decode(&merged); err != nil { // their order is lost
				return err
			}
			out, err := json.Marshal(merged)
			b.Write(out)
			return err
		}
	}
	b.WriteByte('{')
	for i := 0; i < len(n.Content); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := json.Marshal(n.Content[i].Value)
		if err != nil {
			return err
		}
		b.Write(key)
		b.WriteByte(':')
		if err := writeNode(b, n.Content[i+1]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeScalar(b *bytes.Buffer, n *yaml.Node) error {
	var v any
	switch n.Tag {
	case "!!int", "!!float":
		if _, err := strconv.ParseFloat(n.Value, 64); err == nil && json.Valid([]byte(n.Value)) {
			b.WriteString(n.Value) // as it was written
			return nil
		}
		if err := n.Decode(&v); err != nil {
			return err
		}
	case "!!bool", "!!null":
		if err := n.Decode(&v); err != nil {
			return err
		}
	default:
		v = n.Value
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Write(bytes.TrimSpace(out.Bytes()))
	return nil
}
