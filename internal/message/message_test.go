package message

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is a message of a codec that is not grpc-go's.
type plain struct {
	A, B string
	M    map[string]int
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)   { return json.Marshal(v) }
func (jsonCodec) Unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }
func (jsonCodec) Name() string                    { return "json" }

// oneWay encodes, and panics if it is asked to decode.
type oneWay struct{ jsonCodec }

func (oneWay) Unmarshal([]byte, any) error { panic("oneWay cannot decode") }

// sendThrough sends m through a tee beneath which send is called.
func sendThrough(t *testing.T, c encoding.Codec, m any, beneath func(tee *Tee, m any) error) (*Tee, Kept, bool) {
	t.Helper()
	tee := &Tee{}
	opts := []grpc.CallOption{}
	if c != nil {
		opts = append(opts, grpc.ForceCodec(c))
	}
	if !tee.Use(opts) {
		t.Fatal("no codec")
	}
	encoded, own, err := tee.Send(m, func(m any) error { return beneath(tee, m) })
	if err != nil {
		t.Fatal(err)
	}
	k, ok := Keep(m, tee.Base, encoded, own)
	return tee, k, ok
}

func marshals(tee *Tee, m any) error {
	data, err := tee.Marshal(m)
	if err == nil {
		data.Free()
	}
	return err
}

// TestKeptIsSentAsItWas: whatever the caller and interceptors beneath do to it.
func TestKeptIsSentAsItWas(t *testing.T) {
	m := &plain{A: "a"}
	s := wrapperspb.String("a")
	b := []byte("a")
	for name, tc := range map[string]struct {
		codec   encoding.Codec
		m       any
		change  func()
		beneath func(tee *Tee, m any) error
		want    string
	}{
		"a struct":                   {jsonCodec{}, m, func() { m.A = "b" }, marshals, `{"A":"a","B":"","M":null}`},
		"what cannot be decoded":     {oneWay{}, m, func() { m.A = "b" }, marshals, `{"A":"a","B":"","M":null}`},
		"a proto.Message":            {nil, s, func() { s.Value = "b" }, marshals, "\n\x01a"},
		"bytes":                      {jsonCodec{}, []byte("a"), func() {}, marshals, `"YQ=="`},
		"bytes withheld":             {jsonCodec{}, b, func() { b[0] = 'b' }, func(*Tee, any) error { return nil }, `"YQ=="`},
		"a string withheld":          {jsonCodec{}, "a", func() {}, func(*Tee, any) error { return nil }, `"a"`},
		"proto of another codec":     {oneWay{}, s, func() { s.Value = "b" }, marshals, `{"value":"a"}`},
		"one withheld":               {nil, s, func() { s.Value = "b" }, func(*Tee, any) error { return nil }, "\n\x01a"},
		"one replaced":               {nil, s, func() { s.Value = "b" }, func(tee *Tee, _ any) error { return marshals(tee, wrapperspb.String("x")) }, "\n\x01a"},
		"one with another before it": {nil, s, func() { s.Value = "b" }, func(tee *Tee, m any) error { return marshals2(tee, wrapperspb.String("x"), m) }, "\n\x01a"},
	} {
		m.A, s.Value, b[0] = "a", "a", 'a'
		tee, k, ok := sendThrough(t, tc.codec, tc.m, tc.beneath)
		if !ok {
			t.Errorf("%s is not kept", name)
			continue
		}
		tc.change()
		var got []byte
		err := k.Send(tee, func(m any) error {
			if fmt.Sprintf("%T", m) != fmt.Sprintf("%T", tc.m) {
				t.Errorf("%s: a %T is sent", name, m)
			}
			data, err := tee.Marshal(m)
			got = data.Materialize()
			return err
		})
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: sent again as %q, %v, want %q", name, got, err, tc.want)
		}
		k.Free()
	}
}

func marshals2(tee *Tee, a, b any) error {
	if err := marshals(tee, a); err != nil {
		return err
	}
	return marshals(tee, b)
}

// TestNotKept: a message of which there is neither an encoding nor a copy.
func TestNotKept(t *testing.T) {
	if _, _, ok := sendThrough(t, jsonCodec{}, &plain{}, func(*Tee, any) error { return nil }); ok {
		t.Error("kept, as what?")
	}
}

// pool counts buffers that are out.
type pool struct{ out int }

func (p *pool) Get(n int) *[]byte { p.out++; b := make([]byte, n, n+4096); return &b }
func (p *pool) Put(*[]byte)       { p.out-- }

type pooled struct{ pool *pool }

func (c pooled) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.NewBuffer(c.pool.Get(2000), c.pool)}, nil
}
func (c pooled) Unmarshal(mem.BufferSlice, any) error { return nil }
func (c pooled) Name() string                         { return "pooled" }

// TestBuffersAreGivenBack: in an error and a panic too.
func TestBuffersAreGivenBack(t *testing.T) {
	p := &pool{}
	tee := &Tee{}
	tee.Use([]grpc.CallOption{grpc.ForceCodecV2(pooled{p})})
	m := new(plain)
	encoded, own, err := tee.Send(m, func(m any) error { _ = marshals(tee, m); return io.EOF })
	if !own || err != io.EOF {
		t.Fatal(own, err)
	}
	encoded.Free()
	func() {
		defer func() { _ = recover() }()
		_, _, _ = tee.Send(m, func(m any) error { _ = marshals(tee, m); panic("beneath") })
	}()
	if encoded, own, _ = tee.Send(m, func(m any) error { return marshals2(tee, m, m) }); own {
		encoded.Free()
		t.Error("two messages are one")
	}
	if p.out != 0 {
		t.Errorf("%d buffers are out", p.out)
	}
}

// TestLogCountsWhatItKeeps: small messages cost more than their encoding.
func TestLogCountsWhatItKeeps(t *testing.T) {
	var l Log
	var all Ledger
	n := 0
	for l.Add(Kept{form: callers}, 256<<10, &all) {
		n++
	}
	if n > 256<<10/100 || all.Load() != int64(l.bytes) {
		t.Errorf("%d empty messages are kept; the ledger says %d", n, all.Load())
	}
	l.Release(&all)
	if all.Load() != 0 {
		t.Error(all.Load())
	}
}

func TestCopyWithACodecThatPanics(t *testing.T) {
	if _, err := Copy(&plain{}, []grpc.CallOption{grpc.ForceCodec(oneWay{})}); status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
}

// TestRestore: a reply is what it was before the first attempt.
func TestRestore(t *testing.T) {
	empty, set := &plain{}, &plain{B: "set up"}
	for _, r := range []*plain{empty, set} {
		was := *r
		before := BeforeOf(r)
		r.A, r.M = "left", map[string]int{"left": 1}
		before.Restore(r)
		if fmt.Sprint(*r) != fmt.Sprint(was) {
			t.Errorf("%v, want %v", *r, was)
		}
	}
	s := wrapperspb.String("left")
	BeforeOf(s).Restore(s)
	if s.GetValue() != "" {
		t.Error(s)
	}
	for _, r := range []any{nil, plain{}, (*plain)(nil), (*wrapperspb.StringValue)(nil)} {
		BeforeOf(r).Restore(r)
	}
}

// unfaithful decodes something else than it has encoded.
type unfaithful struct{ jsonCodec }

func (c unfaithful) Unmarshal(_ []byte, v any) error {
	v.(*plain).B = "made up"
	return c.jsonCodec.Unmarshal([]byte(`{"A":"made up"}`), v)
}

// A message is copied through a codec that is not grpc-go's only if the copy is
// encoded as the message was.
func TestKeptCopyIsProved(t *testing.T) {
	m := &plain{A: "a"}
	for name, c := range map[string]struct {
		codec encoding.Codec
		ok    bool
	}{"faithful": {jsonCodec{}, true}, "unfaithful": {unfaithful{}, false}} {
		tee, k, _ := sendThrough(t, c.codec, m, marshals)
		like, err := k.Copy(tee.Base)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if p, ok := like.(*plain); ok != c.ok || ok && (p == m || p.A != "a") {
			t.Errorf("%s: the copy is %+v", name, like)
		}
		k.Free()
	}
}

// A tee looks only while a message is being sent: what an interceptor beneath encodes
// between two, from a goroutine of its own, is nobody's, and leaves no buffer out.
func TestTeeLooksOnlyWhileSending(t *testing.T) {
	p := &pool{}
	tee := &Tee{}
	tee.Use([]grpc.CallOption{grpc.ForceCodecV2(pooled{p})})
	m := new(plain)
	first, own, err := tee.Send(m, func(m any) error { return marshals(tee, m) })
	if !own || err != nil {
		t.Fatal(own, err)
	}
	if err := marshals(tee, m); err != nil { // late
		t.Fatal(err)
	}
	if _, own, _ := tee.Send(m, func(any) error { return nil }); own {
		t.Error("what was encoded before is taken for the next message's encoding")
	}
	if err := tee.Resend(m, first, func(m any) error { return marshals(tee, m) }); err != nil {
		t.Fatal(err)
	}
	if _, own, _ := tee.Send(m, func(any) error { return nil }); own {
		t.Error("what was sent again is taken for the next message's encoding")
	}
	first.Free()
	if p.out != 0 {
		t.Errorf("%d buffers are out", p.out)
	}
}

// One message is recognized whatever its kind, and distinguished from one that is only equal.
func TestIdentical(t *testing.T) {
	a, b := &plain{A: "a"}, &plain{A: "a"}
	s := []byte("abc")
	type odd struct{ _ []int }
	for name, c := range map[string]struct {
		a, b any
		want bool
	}{
		"a pointer":               {a, a, true},
		"equal pointees":          {a, b, false},
		"a slice":                 {s, s, true},
		"its beginning":           {s, s[:2], false},
		"equal slices":            {s, []byte("abc"), false},
		"equal values":            {"abc", "abc", true},
		"what cannot be compared": {odd{}, odd{}, false},
		"other types":             {"abc", s, false},
		"nothing":                 {nil, nil, false},
		"nothing and something":   {a, nil, false},
	} {
		if got := identical(c.a, c.b); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// The first message of a log, the only one of most calls, costs no allocation.
func TestFirstOfALogIsFree(t *testing.T) {
	var l Log
	var all Ledger
	if n := testing.AllocsPerRun(100, func() {
		l.Add(Kept{form: callers}, 1000, &all)
		l.Release(&all)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// protoCodec encodes protocol buffers, and is not grpc-go's.
type protoCodec struct{}

func (protoCodec) Marshal(v any) ([]byte, error) { return protobuf.Marshal(v.(protobuf.Message)) }
func (protoCodec) Unmarshal(b []byte, v any) error {
	return protobuf.Unmarshal(b, v.(protobuf.Message))
}
func (protoCodec) Name() string { return "another" }

// What grpc-go's own codec has encoded is kept as that alone: the caller's message is
// let go. Of any other codec it is kept too, should it not decode what it encodes; and
// so is what only embeds a message.
func TestWhatIsKept(t *testing.T) {
	s := wrapperspb.String("a")
	for name, c := range map[string]struct {
		codec encoding.Codec
		m     any
		form  form
	}{
		"proto":               {nil, s, encodedProto},
		"by another codec":    {protoCodec{}, s, callers},
		"embedded":            {nil, embedding{s}, callers},
		"dynamic":             {nil, dynamicpb.NewMessage(s.ProtoReflect().Descriptor()), encodedProto},
		"dynamic, by another": {protoCodec{}, dynamicpb.NewMessage(s.ProtoReflect().Descriptor()), callers},
	} {
		tee, k, ok := sendThrough(t, c.codec, c.m, marshals)
		if !ok || k.form != c.form || (c.form == callers) != (k.what == c.m) {
			t.Errorf("%s: kept %v as %d, with the caller's message: %v", name, ok, k.form, k.what == c.m)
		}
		like, err := k.Copy(tee.Base)
		if c.m == (embedding{s}) {
			if err == nil {
				t.Errorf("%s: copied as %v", name, like)
			}
		} else if err != nil || !same(c.m, like) || like == c.m {
			t.Errorf("%s: %v, %v; want a copy", name, like, err)
		}
		k.Free()
	}
}

// Buffers of a pool are given back, whoever had them: copies, kept messages, logs.
func TestPooledBuffersAreGivenBack(t *testing.T) {
	p := &pool{}
	opts := []grpc.CallOption{grpc.ForceCodecV2(pooled{p})}
	if _, err := Copy(new(plain), opts); err != nil || p.out != 0 {
		t.Errorf("%v, %d buffers are out after a copy", err, p.out)
	}
	tee := &Tee{}
	tee.Use(opts)
	keep := func() Kept {
		m := new(plain)
		encoded, own, _ := tee.Send(m, func(m any) error { return marshals(tee, m) })
		k, ok := Keep(m, tee.Base, encoded, own)
		if !ok || p.out == 0 {
			t.Fatalf("kept %v, %d buffers are out", ok, p.out)
		}
		return k
	}
	k := keep()
	if _, err := k.Copy(tee.Base); err != nil || p.out != 1 {
		t.Errorf("%v, %d buffers are out, want that of the message kept", err, p.out)
	}
	k.Ref()
	k.Free()
	if p.out != 1 {
		t.Errorf("%d buffers are out with a reference left, want 1", p.out)
	}
	k.Free()
	if p.out != 0 {
		t.Errorf("%d buffers are out without a reference", p.out)
	}
	var l Log
	var all Ledger
	l.Add(keep(), 1<<20, &all)
	l.Add(keep(), 1<<20, &all)
	if l.Release(&all); p.out != 0 {
		t.Errorf("%d buffers are out after the log's end", p.out)
	}
}

// panics cannot even encode.
type panics struct{ jsonCodec }

func (panics) Marshal(any) ([]byte, error) { panic("cannot encode") }

func TestCopyWithACodecThatPanicsAtOnce(t *testing.T) {
	if _, err := Copy(&plain{}, []grpc.CallOption{grpc.ForceCodec(panics{})}); status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
}

// Once a message has been sent again, it is encoded anew: the caller may have changed it.
func TestResendEnds(t *testing.T) {
	m := &plain{A: "old"}
	tee, k, _ := sendThrough(t, jsonCodec{}, m, marshals)
	if err := tee.Resend(m, k.encoded, func(m any) error { return marshals(tee, m) }); err != nil {
		t.Fatal(err)
	}
	m.A = "new"
	if data, err := tee.Marshal(m); err != nil || !strings.Contains(string(data.Materialize()), "new") {
		t.Errorf("%s, %v", data.Materialize(), err)
	}
	k.Free()
}
