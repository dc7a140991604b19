package config

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// jsonReader reads a document that is valid JSON.
type jsonReader struct {
	*builder
	dec  *json.Decoder
	data []byte

	// The last place that was asked for: places are asked for in order.
	offset int
	place  position
}

func (b *builder) json(data []byte) *node {
	r := jsonReader{builder: b, dec: json.NewDecoder(bytes.NewReader(data)), data: data, place: position{1, 1}}
	r.dec.UseNumber()
	at, token := r.next()
	return r.value(at, token, nil, 1)
}

// next returns the next token and where it begins. Valid JSON has one; should
// it not, no more values are taken.
func (r *jsonReader) next() (position, json.Token) {
	start := int(r.dec.InputOffset())
	for start < len(r.data) && bytes.IndexByte([]byte(" \t\r\n,:"), r.data[start]) >= 0 {
		start++
	}
	for r.offset < start {
		c, size := utf8.DecodeRune(r.data[r.offset:])
		r.offset += size
		r.place.column++
		if c == '\n' {
			r.place = position{r.place.line + 1, 1}
		}
	}
	token, err := r.dec.Token()
	if err != nil {
		r.syntax(err)
		r.ended = true
	}
	return r.place, token
}

func (r *jsonReader) value(at position, token json.Token, key *path, depth int) *node {
	n := &node{position: at}
	if !r.take(at, key, depth) {
		return nil
	}
	switch v := token.(type) {
	case json.Delim:
		if v == '{' {
			return r.object(n, key, depth)
		}
		return r.list(n, key, depth)
	case string:
		n.kind, n.text = text, v
	case json.Number:
		n.kind, n.text = number, v.String()
	case bool:
		n.kind, n.text = boolean, "false"
		if v {
			n.text = "true"
		}
	default:
		n.kind, n.text = null, "null"
	}
	return n
}

func (r *jsonReader) object(n *node, key *path, depth int) *node {
	n.kind = object
	first := map[string]position{}
	for {
		at, token := r.next()
		name, more := token.(string)
		if !more {
			return n
		}
		inner := key.member(name)
		valueAt, token := r.next()
		v := r.value(valueAt, token, inner, depth+1)
		if v == nil {
			return nil
		}
		r.put(n, first, member{at, name, v}, inner)
	}
}

func (r *jsonReader) list(n *node, key *path, depth int) *node {
	n.kind = list
	for {
		at, token := r.next()
		if token == json.Delim(']') {
			return n
		}
		v := r.value(at, token, key.item(len(n.items)), depth+1)
		if v == nil {
			return nil
		}
		n.items = append(n.items, v)
	}
}
