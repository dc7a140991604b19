package config

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// maxBytes is how large a document may be.
const maxBytes = 1 << 20

const (
	// maxNodes is how many values a document may have, with what its aliases
	// stand for: a few anchors can stand for billions.
	maxNodes = 100_000
	// maxDepth is how deep they may be nested.
	maxDepth = 50
)

// kind is what JSON, and the part of YAML that is read here, know of values.
type kind uint8

const (
	object kind = iota
	list
	text
	number
	boolean
	null
)

func (k kind) String() string {
	return [...]string{"an object", "a list", "a string", "a number", "a boolean", "null"}[k]
}

// position is where something is written, from 1, in characters.
type position struct{ line, column int }

// node is a value of a document, whether it is JSON or YAML.
type node struct {
	position
	kind    kind
	text    string // of a scalar: what a string says, all others as written
	members []member
	items   []*node
}

// member is a key of an object, with what it holds.
type member struct {
	position
	key   string
	value *node
}

// written is a scalar as the document has it.
func (n *node) written() string {
	switch n.kind {
	case object, list:
		return ""
	case text:
		return quoted(n.text)
	case null:
		return "null"
	}
	return shortened(n.text)
}

// tree reads a document, JSON or YAML. It returns nil if it has reported a fault
// that leaves nothing to go on with.
func tree(data []byte, f *faults) *node {
	start := position{1, 1}
	switch {
	case len(data) > maxBytes:
		f.add(start, nil, "", fmt.Sprintf("is too large: want at most %d bytes", maxBytes))
		return nil
	case len(bytes.TrimSpace(data)) == 0:
		f.add(start, nil, "", "is empty: want an object, {} for defaults only")
		return nil
	}
	b := builder{faults: f, left: maxNodes}
	// Nearly all of JSON is YAML, too. What is not (a tab before the first
	// brace, the escape \/, a pair of \u for one character) is why it gets a
	// reader of its own.
	if json.Valid(data) {
		return b.json(data)
	}
	return b.yaml(data)
}

// builder makes the nodes of a document, a bounded number.
type builder struct {
	faults *faults
	left   int
	ended  bool // a bound was met, and reported
}

// take allows for one more node.
func (b *builder) take(at position, key *path, depth int) bool {
	if b.ended {
		return false
	}
	b.left--
	switch {
	case b.left < 0:
		b.faults.add(at, key, "", fmt.Sprintf("has too many values: want at most %d, aliases expanded", maxNodes))
	case depth > maxDepth:
		b.faults.add(at, key, "", fmt.Sprintf("is nested too deeply: want at most %d levels", maxDepth))
	default:
		return true
	}
	b.ended = true
	return false
}

// put adds a member to an object, or reports that its key is there already.
func (b *builder) put(n *node, first map[string]position, m member, at *path) {
	if before, twice := first[m.key]; twice {
		b.faults.add(m.position, at, "", fmt.Sprintf("is written twice, first in line %d: write each key once", before.line))
		return
	}
	first[m.key] = m.position
	n.members = append(n.members, m)
}
