package interceptors

import (
	"context"
	"reflect"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestCallsKeepNothingOfTheirCallers: they are kept for others.
func TestCallsKeepNothingOfTheirCallers(t *testing.T) {
	const method = "/astra.test.Pool/Get"
	for name, p := range map[string]Policy{"retried": {}, "hedged": {Hedge: Hedge{MaxAttempts: 2, Delay: 1 << 40}}} {
		s, err := New(WithMethodPolicy(method, p), WithClassifier(method, func(Attempt) Verdict { return 0 }))
		if err != nil {
			t.Fatal(err)
		}
		u := new(unaryCall)
		u.method, u.req, u.reply = method, wrapperspb.String("q"), new(wrapperspb.StringValue)
		u.invoker = func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
			for _, o := range opts {
				switch o := o.(type) {
				case grpc.HeaderCallOption:
					*o.HeaderAddr = metadata.MD{"a": {"b"}}
				case grpc.TrailerCallOption:
					*o.TrailerAddr = metadata.MD{"a": {"b"}}
				case grpc.PeerCallOption:
					o.PeerAddr.LocalAddr = nowhere{}
				}
			}
			return nil
		}
		var header metadata.MD
		var from peer.Peer
		finished := 0
		plan := s.plan(nil, "", method)
		err = u.make(t.Context(), &s.Host, &s.lateFailure, plan, plan.policy,
			[]grpc.CallOption{grpc.WaitForReady(true), grpc.Header(&header), grpc.Peer(&from), grpc.OnFinish(func(error) { finished++ })})
		if err != nil || header == nil || from.LocalAddr == nil || finished != 1 {
			t.Fatalf("%s: %v, header %v, peer %v, finished %d times", name, err, header, from, finished)
		}
		v := reflect.ValueOf(u).Elem()
		for _, f := range []string{"full", "req", "reply", "cc", "invoker", "opts", "first", "original", "before"} {
			if !v.FieldByName(f).IsZero() {
				t.Errorf("%s: keeps %s: %v", name, f, v.FieldByName(f))
			}
		}
		c := &u.capture
		for _, o := range c.ours[:cap(c.ours)] {
			if o != nil {
				t.Errorf("%s: keeps option %T", name, o)
			}
		}
		if c.theirs != nil || len(c.ours) > 0 || c.effects || c.finished || c.wantHeader || c.header != nil || c.trailer != nil || c.sent() {
			t.Errorf("%s: keeps %+v", name, c)
		}
		_ = s.Close()
	}
}

type nowhere struct{}

func (nowhere) Network() string { return "test" }
func (nowhere) String() string  { return "nowhere" }

// TestWorkIsKeptClean, which attempts beside the first are made of.
func TestWorkIsKeptClean(t *testing.T) {
	u := &unaryCall{full: &plan{}, reply: new(wrapperspb.StringValue), req: wrapperspb.String("q"), method: "/a.B/C"}
	var err error
	if u.original, err = originalOf(u.req, u.reply, nil); err != nil {
		t.Fatal(err)
	}
	u.theirs = []grpc.CallOption{grpc.WaitForReady(true)}
	made, err := u.work()
	if err != nil {
		t.Fatal(err)
	}
	w := made.(*unaryWork)
	w.header, w.trailer, w.err = metadata.MD{"a": {"b"}}, metadata.MD{"a": {"b"}}, context.Canceled
	w.recycle()
	if w.req != nil || w.reply != nil || w.opts != nil || w.theirs != nil || w.header != nil || w.trailer != nil || w.err != nil || w.method != "" {
		t.Errorf("keeps %+v", w)
	}
	if len(w.ours) > 0 || cap(w.ours) == 0 {
		t.Errorf("memory for %d options, %d of them in use, want some and none", cap(w.ours), len(w.ours))
	}
}
