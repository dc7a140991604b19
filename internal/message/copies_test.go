package message

import (
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// embedding is a proto.Message only by what it embeds.
type embedding struct{ *wrapperspb.StringValue }

// same reports whether two messages are equal.
func same(a, b any) bool {
	if p, ok := a.(protobuf.Message); ok {
		return protobuf.Equal(p, b.(protobuf.Message))
	}
	return reflect.DeepEqual(a, b)
}

// A copy is equal, of the same type, and another; what cannot be copied says so.
func TestCopy(t *testing.T) {
	asJSON := []grpc.CallOption{grpc.ForceCodec(jsonCodec{})}
	for name, c := range map[string]struct {
		m      any
		opts   []grpc.CallOption
		shared bool // it is never changed
		fails  bool
	}{
		"proto":             {m: wrapperspb.String("a")},
		"bytes":             {m: []byte("abc")},
		"string":            {m: "abc", shared: true},
		"nil":               {m: nil, shared: true},
		"JSON":              {m: &plain{A: "a", M: map[string]int{"x": 1}}, opts: asJSON},
		"no pointer":        {m: plain{A: "a"}, opts: asJSON, fails: true},
		"embedded":          {m: embedding{wrapperspb.String("a")}, fails: true},
		"codec cannot":      {m: &plain{A: "a"}, fails: true},
		"cannot be decoded": {m: &plain{A: "a"}, opts: []grpc.CallOption{grpc.ForceCodec(oneWay{})}, fails: true},
		"no codec":          {m: &plain{A: "a"}, opts: []grpc.CallOption{grpc.CallContentSubtype("unheard-of")}, fails: true},
	} {
		like, err := Copy(c.m, c.opts)
		if c.fails {
			if status.Code(err) != codes.FailedPrecondition || like != nil {
				t.Errorf("%s: %v, %v; want FAILED_PRECONDITION", name, like, err)
			}
			continue
		}
		if err != nil || !same(c.m, like) || reflect.TypeOf(like) != reflect.TypeOf(c.m) {
			t.Errorf("%s: %v, %v; want an equal message", name, like, err)
		}
		if !c.shared && reflect.ValueOf(like).Pointer() == reflect.ValueOf(c.m).Pointer() {
			t.Errorf("%s: the copy is the message itself", name)
		}
	}
}

// New makes empty replies of the caller's type, each another.
func TestTypeOf(t *testing.T) {
	for name, reply := range map[string]any{"proto": wrapperspb.String("a"), "other": &plain{A: "a"}} {
		typ, err := TypeOf(reply)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		one, two := typ.New(), typ.New()
		if reflect.TypeOf(one) != reflect.TypeOf(reply) || same(one, reply) || !same(one, two) ||
			reflect.ValueOf(one).Pointer() == reflect.ValueOf(two).Pointer() {
			t.Errorf("%s: %v and %v, want two empty replies", name, one, two)
		}
	}
	if typ, err := TypeOf(nil); err != nil || typ.New() != nil {
		t.Errorf("no reply: %v, %v", typ, err)
	}
	for name, reply := range map[string]any{"no pointer": plain{}, "embedded": embedding{wrapperspb.String("a")}} {
		if _, err := TypeOf(reply); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: %v, want FAILED_PRECONDITION", name, err)
		}
	}
}

func TestReplyOf(t *testing.T) {
	if got := ReplyOf(healthpb.Health_Check_FullMethodName); reflect.TypeOf(got) != reflect.TypeFor[*healthpb.HealthCheckResponse]() {
		t.Errorf("a declared method answers with a %T", got)
	}
	for _, method := range []string{"/any.Service/Method", "nonsense", "", "/grpc.health.v1/Health"} {
		if got, ok := ReplyOf(method).(*emptypb.Empty); !ok || got == nil {
			t.Errorf("%q answers with a %T, want an Empty", method, got)
		}
	}
}

// What is handed over replaces what was there, unknown fields too.
func TestHandOver(t *testing.T) {
	from, to := wrapperspb.String("new"), wrapperspb.String("old")
	from.ProtoReflect().SetUnknown([]byte{0x78, 1}) // field 15
	want := protobuf.Clone(from)
	HandOver(to, from)
	if !protobuf.Equal(to, want) {
		t.Errorf("got %v, want %v", to, want)
	}
	HandOver(to, &wrapperspb.StringValue{})
	if !protobuf.Equal(to, &wrapperspb.StringValue{}) {
		t.Errorf("got %v, want it empty", to)
	}
	var took durationpb.Duration
	if HandOver(&took, durationpb.New(90*time.Second+time.Millisecond)); took.AsDuration() != 90*time.Second+time.Millisecond {
		t.Errorf("got %v, want each of its fields", &took)
	}
	other := &plain{A: "old", B: "old"}
	HandOver(other, &plain{A: "new"})
	if *other.asKey() != (key{"new", ""}) {
		t.Errorf("got %+v, want the new one", other)
	}
	HandOver(nil, nil)
}

type key struct{ a, b string }

func (p *plain) asKey() *key { return &key{p.A, p.B} }

// A log keeps what its limit and the ledger have room for, to the byte, and gives
// all of it back.
func TestLogIsExact(t *testing.T) {
	keep := func(n int) Kept {
		k, ok := Keep(make([]byte, n), nil, nil, false)
		if !ok || k.Size() != n || k.Empty() {
			t.Fatalf("%+v, %v", k, ok)
		}
		return k
	}
	var (
		l   Log
		all Ledger
	)
	const limit = 1000
	if l.Add(keep(limit-frameBytes+1), limit, &all) || all.Load() != 0 {
		t.Errorf("a first message past the limit is kept; the ledger has %d", all.Load())
	}
	if !l.Add(keep(500), limit, &all) || all.Load() != 500+5 {
		t.Errorf("the first message: the ledger has %d, want 505", all.Load())
	}
	if l.Add(keep(limit-505-entryBytes+1), limit, &all) || all.Load() != 505 {
		t.Errorf("a second message past the limit is kept; the ledger has %d", all.Load())
	}
	if !l.Add(keep(limit-505-entryBytes), limit, &all) || all.Load() != limit || len(l.Messages) != 2 {
		t.Errorf("one that just fits: the ledger has %d, want %d", all.Load(), limit)
	}
	l.Closed = true
	l.Release(&all)
	if all.Load() != 0 || len(l.Messages) != 0 || !l.Closed {
		t.Errorf("released: %+v, the ledger has %d", l, all.Load())
	}
	all.Store(maxBytes - 10)
	if l.Add(keep(6), limit, &all) || all.Load() != maxBytes-10 {
		t.Errorf("a full ledger has %d, want %d", all.Load(), maxBytes-10)
	}
	if !l.Add(keep(5), limit, &all) || all.Load() != maxBytes {
		t.Errorf("one that just fits: the ledger has %d, want %d", all.Load(), maxBytes)
	}
	if maxBytes != 64<<20 {
		t.Errorf("a suite keeps %d bytes, not the 64 MiB that its documentation says", maxBytes)
	}
	if !(&Kept{}).Empty() {
		t.Error("nothing kept is not empty")
	}
}

// oldest is a codec of grpc-go's oldest interface.
type oldest struct{ jsonCodec }

func (oldest) String() string { return "oldest" }

// The codec is the one that grpc-go would use, whatever stands before it.
func TestCodecOf(t *testing.T) {
	v2 := encoding.GetCodecV2(proto.Name)
	for name, c := range map[string]struct {
		opts []grpc.CallOption
		want any // the codec within
		said string
	}{
		"none":                 {nil, v2, ""},
		"V1":                   {[]grpc.CallOption{grpc.ForceCodec(jsonCodec{})}, codecV1{jsonCodec{}}, "json"},
		"V2":                   {[]grpc.CallOption{grpc.ForceCodecV2(v2)}, v2, "proto"},
		"V2, given by pointer": {[]grpc.CallOption{&grpc.ForceCodecV2CallOption{CodecV2: v2}}, v2, "proto"},
		"the last":             {[]grpc.CallOption{grpc.ForceCodecV2(v2), grpc.ForceCodec(jsonCodec{})}, codecV1{jsonCodec{}}, "json"},
		"V0":                   {[]grpc.CallOption{grpc.CustomCodecCallOption{Codec: oldest{}}}, codecV0{oldest{}}, ""},
		"subtype":              {[]grpc.CallOption{grpc.CallContentSubtype("PROTO")}, v2, ""},
		"unknown":              {[]grpc.CallOption{grpc.CallContentSubtype("unheard-of")}, nil, "unheard-of"},
	} {
		base, said := CodecOf(c.opts)
		if base != c.want || said != c.said && c.want != nil {
			t.Errorf("%s: %T %q, want %T %q", name, base, said, c.want, c.said)
		}
	}
	zero := codecV0{oldest{}}
	data, err := zero.Marshal(&plain{A: "a"})
	if err != nil {
		t.Fatal(err)
	}
	var back plain
	if err := zero.Unmarshal(data, &back); err != nil || back.A != "a" || zero.Name() != "" {
		t.Errorf("%+v, %v", back, err)
	}
}
