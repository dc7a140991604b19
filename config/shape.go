package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

// A shape says what a value looks like. The grammar is made of shapes, and so
// is the JSON Schema.
type shape interface {
	// read returns the value, or reports what is wrong with it. key is what it is
	// called.
	read(r *reader, n *node, key *path) (v any, ok bool)
}

// reader is what shapes report to.
type reader struct {
	faults   *faults
	warnings []warning
}

// kindOf reports a fault if a node is of another kind than wanted.
func (r *reader) kindOf(n *node, key *path, want kind, detail string) bool {
	if n.kind == want {
		return true
	}
	is := "is " + n.kind.String()
	if n.kind == null {
		is = "is not allowed"
	}
	r.faults.of(n, key, "%s: want %s%s", is, want, detail)
	return false
}

// integer is a whole number: an int.
type integer struct {
	from, to int64
	own      bool // a field of a policy, whose Validate knows the range
}

func (s integer) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, number, "") {
		return nil, false
	}
	v, ok := parseNumber(n.text)
	switch {
	case !ok:
		r.faults.of(n, key, "cannot be read: want a number in decimal")
	case v != math.Trunc(v):
		r.faults.of(n, key, "has a fraction: want a whole number")
	case s.own:
		return ownInt(v), true
	case v < float64(s.from) || v > float64(s.to):
		r.faults.of(n, key, "is out of range: want %s", s.wanted())
	default:
		return int(v), true
	}
	return nil, false
}

func (s integer) wanted() string {
	if s.to == math.MaxUint32 {
		return fmt.Sprintf("%d or more", s.from)
	}
	return fmt.Sprintf("from %d to %d", s.from, s.to)
}

// In Go, zero stands for a field's default. Who writes it into a file means
// another thing, so there it is a fault: a policy is given notZero instead,
// which is out of every field's range, and Validate reports what is in it.
const notZero = -1

func ownInt(v float64) int {
	switch {
	case v == 0:
		return notZero
	case v > math.MaxInt32:
		return math.MaxInt
	case v < math.MinInt32:
		return math.MinInt32
	}
	return int(v)
}

// real is a number: a float64, at least from, or above it.
type real struct {
	from, to float64
	above    bool
	own      bool
}

func (s real) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, number, "") {
		return nil, false
	}
	v, ok := parseNumber(n.text)
	switch {
	case !ok:
		r.faults.of(n, key, "cannot be read: want a number in decimal")
	case s.own && v == 0:
		return float64(notZero), true
	case s.own:
		return v, true
	case v < s.from, s.above && v == s.from, v > s.to:
		r.faults.of(n, key, "is out of range: want %s", s.wanted())
	default:
		return v, true
	}
	return nil, false
}

func (s real) wanted() string {
	switch {
	case !s.above:
		return fmt.Sprintf("%v or more", s.from)
	case s.to == math.MaxFloat32:
		return fmt.Sprintf("above %v", s.from)
	}
	return fmt.Sprintf("above %v, up to %v", s.from, s.to)
}

// duration is a time.Duration.
type duration struct {
	own  bool // as Go writes it, and of a policy; else as proto-JSON writes it
	zero bool // is allowed
}

func (s duration) read(r *reader, n *node, key *path) (any, bool) {
	parse, want := parseProtoDuration, `seconds, such as "1.5s", with 9 decimals at most, up to 315576000000s`
	if s.own {
		parse, want = parseDuration, `such as "250ms", "1.5s" or "1h30m"`
	}
	if !r.kindOf(n, key, text, ", a duration, "+want) {
		return nil, false
	}
	d, ok := parse(n.text)
	switch {
	case !ok:
		r.faults.of(n, key, "is not a duration: want %s", want)
	case s.own && d == 0:
		return time.Duration(notZero), true
	case s.own:
		return d, true
	case d < 0 && s.zero:
		r.faults.of(n, key, "is out of range: want 0s or more")
	case d <= 0 && !s.zero:
		r.faults.of(n, key, "is out of range: want more than 0s")
	default:
		return d, true
	}
	return nil, false
}

// boolFlag is a bool.
type boolFlag struct{}

func (boolFlag) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, boolean, ", true or false") {
		return nil, false
	}
	return n.text == "true", true
}

// word is a value of a type that reads itself from text.
type word struct{ of reflect.Type }

func (s word) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, text, ": "+strings.Join(s.names(), ", ")) {
		return nil, false
	}
	v := reflect.New(s.of)
	if err := v.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
		r.faults.of(n, key, "is unknown: want %s", strings.Join(s.names(), ", "))
		return nil, false
	}
	return v.Elem().Interface(), true
}

// names are the texts of all values; such types have few.
func (s word) names() (all []string) {
	for i := range uint64(256) {
		v := reflect.New(s.of).Elem()
		if !v.CanUint() {
			return nil
		}
		v.SetUint(i)
		if m, ok := v.Interface().(encoding.TextMarshaler); ok {
			if name, err := m.MarshalText(); err == nil {
				all = append(all, string(name))
			}
		}
	}
	return all
}

// codeSet is a list of status codes: an astracodes.Set.
type codeSet struct {
	from  codes.Code // OK or what comes after it
	empty bool       // is allowed, and stands for no code
}

func (s codeSet) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, list, " of status codes") {
		return nil, false
	}
	var set astracodes.Set
	if len(n.items) == 0 {
		if !s.empty {
			r.faults.of(n, key, "is empty: want at least one status code")
			return nil, false
		}
		return astracodes.Of(codes.OK), true // the zero set stands for a default
	}
	ok := true
	for i, item := range n.items {
		c, known := s.code(r, item, key.item(i))
		ok = ok && known
		set = set.With(c)
	}
	return set, ok
}

func (s codeSet) code(r *reader, n *node, key *path) (codes.Code, bool) {
	if n.kind != text && n.kind != number {
		return 0, r.kindOf(n, key, text, ", a status code's name, or its number")
	}
	c, ok := parseCode(n)
	switch {
	case ok && c >= s.from:
		return c, true
	case ok:
		r.faults.of(n, key, "does not name a failure: want a status code other than OK")
	default:
		r.faults.of(n, key, "is not a status code%s", suggest(n.text, codeNames(s.from)))
	}
	return 0, false
}

// listOf is a list: []value.
type listOf struct{ item shape }

func (s listOf) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, list, "") {
		return nil, false
	}
	values := make([]value, 0, len(n.items))
	for i, item := range n.items {
		at := key.item(i)
		v, ok := s.item.read(r, item, at)
		values = append(values, value{v, ok, item.position, item, at})
	}
	return values, true
}

// perCode is an object of status codes and what is said of each: []value, keys
// being codes.
type perCode struct{ item shape }

func (s perCode) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, object, " of status codes") {
		return nil, false
	}
	var (
		values []value
		seen   astracodes.Set
		set    = codeSet{from: codes.Canceled}
	)
	for _, m := range n.members {
		at := key.member(m.key)
		c, ok := set.code(r, &node{position: m.position, kind: text, text: m.key}, at)
		if !ok {
			continue
		}
		if seen.Contains(c) {
			r.faults.add(m.position, at, "", fmt.Sprintf("names %s, which is named above: name each code once", astracodes.Name(c)))
			continue
		}
		seen = seen.With(c)
		v, ok := s.item.read(r, m.value, at)
		values = append(values, value{codeAnd{c, v}, ok, m.position, m.value, at})
	}
	return values, true
}

type codeAnd struct {
	code codes.Code
	v    any
}

// name is a service's or a method's: a string, "" for none.
type name struct{}

func (name) read(r *reader, n *node, key *path) (any, bool) {
	if n.kind == null { // the same as none (service_config.proto)
		return "", true
	}
	if !r.kindOf(n, key, text, "") {
		return nil, false
	}
	if strings.ContainsAny(n.text, "/* \t\r\n") {
		r.faults.of(n, key, "is not a valid name: want no /, * or space")
		return nil, false
	}
	return n.text, true
}
