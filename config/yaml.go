package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yaml reads a document that is not JSON. Of YAML it takes objects with
// strings for keys, lists and scalars; anchors, aliases and merge keys (<<)
// are resolved.
func (b *builder) yaml(data []byte) *node {
	var doc, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		b.syntax(err)
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" && doc.Content[0].Value == "" {
		b.faults.add(position{1, 1}, nil, "", "is empty: want an object, {} for defaults only")
		return nil
	}
	switch err := dec.Decode(&second); {
	case err == nil:
		b.faults.add(position{second.Line, max(second.Column, 1)}, nil, "", "has a second document: want only one")
		return nil
	case !errors.Is(err, io.EOF):
		b.syntax(err)
		return nil
	}
	return b.node(doc.Content[0], nil, 1)
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)`)

// syntax reports why the document is no YAML. Only lines are known of that.
func (b *builder) syntax(err error) {
	problem := "is empty: want an object, {} for defaults only"
	at := position{1, 1}
	if !errors.Is(err, io.EOF) {
		m := yamlLine.FindStringSubmatch(err.Error())
		at = position{}
		if line, e := strconv.Atoi(m[1]); e == nil {
			at.line = max(line, 1)
		}
		problem = "is neither JSON nor YAML: " + cutAt(m[2], 2*maxValue)
	}
	b.faults.add(at, nil, "", problem)
}

// node returns nil if a bound was met.
func (b *builder) node(y *yaml.Node, key *path, depth int) *node {
	n := &node{position: position{y.Line, y.Column}}
	if !b.take(n.position, key, depth) {
		return nil
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.kind = object
		if !b.mapping(n, y, key, depth) {
			return nil
		}
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			v := b.node(item, key.item(i), depth+1)
			if v == nil {
				return nil
			}
			n.items = append(n.items, v)
		}
	case yaml.AliasNode:
		return b.node(y.Alias, key, depth+1) // one that holds itself is too deep
	default:
		b.scalar(n, y, key)
	}
	return n
}

func (b *builder) scalar(n *node, y *yaml.Node, key *path) {
	n.text = y.Value
	switch tag := y.ShortTag(); tag {
	case "!!str", "!!timestamp":
		n.kind = text
	case "!!int", "!!float":
		n.kind = number
	case "!!bool":
		n.kind, n.text = boolean, strings.ToLower(y.Value)
	case "!!null":
		n.kind = null
	default:
		n.kind = text
		b.faults.of(n, key, "has the tag %s: want plain strings, numbers and booleans", shortened(tag))
	}
}

func (b *builder) mapping(n *node, y *yaml.Node, key *path, depth int) bool {
	var (
		first = map[string]position{}
		merge []*yaml.Node
	)
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		at := position{k.Line, k.Column}
		if k.ShortTag() == "!!merge" {
			merge = append(merge, v)
			continue
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
			b.faults.add(at, key, "", fmt.Sprintf("has a key that is not a string, %s: quote the key", shortened(k.Value)))
			continue
		}
		inner := key.member(k.Value)
		value := b.node(v, inner, depth+1)
		if value == nil {
			return false
		}
		b.put(n, first, member{at, k.Value, value}, inner)
	}
	for _, m := range merge {
		if !b.merge(n, first, m, key, depth) {
			return false
		}
	}
	return true
}

// merge adds the members of another object, or of a list of such, that n has
// not: what is written in an object counts more, and so does what comes first.
func (b *builder) merge(n *node, first map[string]position, y *yaml.Node, key *path, depth int) bool {
	other := b.node(y, key, depth+1)
	if other == nil {
		return false
	}
	sources := other.items
	if other.kind == object {
		sources = []*node{other}
	}
	for _, source := range sources {
		if source.kind != object {
			sources = nil
			break
		}
		for _, m := range source.members {
			if _, has := first[m.key]; !has {
				first[m.key] = m.position
				n.members = append(n.members, m)
			}
		}
	}
	if len(sources) == 0 {
		b.faults.add(other.position, key.member("<<"), "", "is "+other.kind.String()+": want an alias of an object, or a list of such aliases")
	}
	return true
}
