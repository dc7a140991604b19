package config

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/interceptors"
)

// The document's chaos object: a [chaos.Plan].

var chaosPlan = &objectShape{fields: []field{
	{key: "start", member: "Start", shape: moment{}, doc: "When the window begins. Left out: when the document is read first, and so at each start of the program."},
	{key: "for", member: "For", shape: duration{own: true}, required: "want a duration", doc: "How long the window is: 1ms to 24h."},
	{key: "seed", member: "Seed", shape: integer{from: 0, to: math.MaxUint32}, doc: "Draws the attempts that meet a fault."},
	{key: "faults", member: "Faults", shape: listOf{chaosFault}, required: "want a list of faults",
		doc: "What goes wrong. Each latency that is drawn delays an attempt, the first of another kind decides its end."},
}}

var chaosFault = &objectShape{fields: []field{
	{key: "method", member: "Method", shape: pattern{}, required: "want a pattern", doc: `The methods: "/pkg.Service/Method", "/pkg.Service/*" or "*".`},
	{key: "kind", member: "Kind", shape: word{reflect.TypeFor[chaos.Kind]()}, required: "want a kind of fault", doc: "What goes wrong."},
	{key: "share", member: "Share", shape: real{above: true, to: 1}, required: "want a number above 0, up to 1", doc: "Of the attempts."},
	{key: "from", member: "From", shape: duration{own: true}, doc: "When the fault begins, counted from the window's beginning."},
	{key: "for", member: "For", shape: duration{own: true}, doc: "How long the fault lasts. Left out: to the window's end."},
	{key: "latency", member: "Latency", shape: duration{own: true}, doc: "How long attempts wait, of kind latency. Up to 1h."},
	{key: "spread", member: "Spread", shape: duration{own: true}, doc: "The most that chance adds to latency. Up to 1h."},
	{key: "code", member: "Code", shape: oneCode{}, doc: "Of the error, of kind status."},
	{key: "message", member: "Message", shape: anyText{}, doc: "Of the error, of kind status."},
	{key: "retryInfo", member: "RetryInfo", shape: duration{own: true}, doc: "The delay of a google.rpc.RetryInfo in the error's details, of kind status."},
	{key: "pushback", member: "Pushback", shape: duration{own: true}, doc: "Sent as grpc-retry-pushback-ms, of kind status."},
	{key: "after", member: "After", shape: integer{from: 0, to: 1e6}, doc: "How many messages of a stream come before, of kinds reset, hang and corrupt."},
}}

// moment is a time.Time.
type moment struct{}

func (moment) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, text, `, a time, such as "2026-01-31T15:00:00Z"`) {
		return nil, false
	}
	t, err := time.Parse(time.RFC3339, n.text)
	if err != nil {
		r.faults.of(n, key, `is not a time: want one such as "2026-01-31T15:00:00Z" (RFC 3339)`)
		return nil, false
	}
	return t.UTC(), true
}

// oneCode is a codes.Code other than OK.
type oneCode struct{}

func (oneCode) read(r *reader, n *node, key *path) (any, bool) {
	return orNot(codeSet{from: codes.Canceled}.code(r, n, key))
}

func orNot[T any](v T, ok bool) (any, bool) { return v, ok }

// anyText is a string.
type anyText struct{}

func (anyText) read(r *reader, n *node, key *path) (any, bool) {
	return n.text, r.kindOf(n, key, text, "")
}

// pattern names methods. What it must look like, the plan knows.
type pattern struct{}

func (pattern) read(r *reader, n *node, key *path) (any, bool) {
	return n.text, r.kindOf(n, key, text, `, "/pkg.Service/Method", "/pkg.Service/*" or "*"`)
}

// chaos reads the document's plan; nil if there is none, or it has faults.
func (r *reader) chaos(doc *record) (*chaos.Plan, value) {
	rec, from, ok := get[*record](doc, "chaos")
	if !ok {
		return nil, from
	}
	known := len(r.faults.all)
	plan := chaos.Plan{}
	plan.Start, _, _ = get[time.Time](rec, "start")
	plan.For, _, _ = get[time.Duration](rec, "for")
	seed, _, _ := get[int](rec, "seed")
	plan.Seed = uint64(seed) //nolint:gosec // it is not negative
	list, _, _ := get[[]value](rec, "faults")
	for _, each := range list {
		f := chaos.Fault{}
		if item, ok := each.v.(*record); ok {
			f = structOf(reflect.TypeFor[chaos.Fault](), chaosFault, item).Interface().(chaos.Fault)
			if from := item.values["pushback"]; from.ok && f.Pushback <= 0 { // negative ones are for Go alone
				r.faults.of(from.node, from.at, "is out of range: want more than 0s, up to a century")
			}
		}
		plan.Faults = append(plan.Faults, f)
	}
	for _, err := range unjoin(plan.Validate()) {
		var fault *interceptors.FieldError
		if errors.As(err, &fault) {
			r.ofPlan(fault, rec, from, list)
		}
	}
	if len(r.faults.all) > known {
		return nil, from
	}
	return &plan, from
}

// ofPlan reports what is wrong with a plan where it is written. What could not be
// read, or is missing and required, has been reported.
func (r *reader) ofPlan(f *interceptors.FieldError, rec *record, from value, list []value) {
	name := f.Field
	if index, rest, inFault := strings.Cut(strings.TrimPrefix(name, "Faults["), "]."); inFault {
		i, err := strconv.Atoi(index)
		if err != nil || i >= len(list) {
			return
		}
		item, ok := list[i].v.(*record)
		if !ok {
			return
		}
		name, rec, from = rest, item, list[i]
	}
	problem := f.Problem
	if f.Want != "" {
		problem += ": want " + f.Want
	}
	key := keyOf(name)
	at, has := rec.values[key]
	switch {
	case has && at.ok:
		r.faults.add(at.place(), at.at, at.written(), problem)
	case !has && rec.node != nil && !requiredIn(rec, key):
		r.faults.add(from.place(), from.at.member(key), "", problem)
	}
}

// requiredIn reports whether a key that is missing has been reported for that.
func requiredIn(rec *record, key string) bool {
	for _, s := range []*objectShape{chaosPlan, chaosFault} {
		if f := s.field(key); f != nil && f.required != "" && !rec.has(key) {
			return true
		}
	}
	return false
}
