package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"pgregory.net/rapid"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// part is what an attempt does.
type part struct {
	after    time.Duration
	end      string
	heedless bool          // to its context
	header   time.Duration // of a stream: when it comes, if not with the end
}

func drawParts(t *rapid.T) []part {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) part {
		return part{
			after:    time.Duration(rapid.IntRange(0, 30).Draw(t, "after")) * ms,
			end:      rapid.SampledFrom([]string{"ok", "ok", "ok", "unavailable", "unavailable", "later", "stop", "notfound", "cancelled", "panic", "goexit", "empty"}).Draw(t, "end"),
			heedless: rapid.IntRange(0, 5).Draw(t, "heedless") == 0,
			header:   time.Duration(rapid.IntRange(0, 30).Draw(t, "header")) * ms,
		}
	}), 4, 4).Draw(t, "attempts")
}

// books is what is known of a call beneath and above the suite.
type books struct {
	mu       sync.Mutex
	attempts int
	finished atomic.Int32
	events   hedgeEvents
}

func (b *books) begin(parts []part) (int, part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts++
	return b.attempts, parts[min(b.attempts, len(parts))-1]
}

// play waits, and ends as the part has it.
func (p part) play(ctx context.Context) (metadata.MD, error) {
	if p.heedless {
		time.Sleep(p.after)
	} else if err := pass(ctx, p.after); err != nil {
		return nil, err
	}
	switch p.end {
	case "ok", "empty":
		return nil, nil
	case "later":
		return pushback("7"), status.Error(codes.Unavailable, p.end)
	case "stop":
		return pushback("-1"), status.Error(codes.Unavailable, p.end)
	case "unavailable":
		return nil, status.Error(codes.Unavailable, p.end)
	case "cancelled":
		return nil, status.Error(codes.Canceled, p.end)
	case "panic":
		panic("scripted")
	case "goexit":
		runtime.Goexit()
	}
	return nil, status.Error(codes.NotFound, p.end)
}

func pass(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// check sees that everything was emitted and settled once.
func (b *books) check(t *rapid.T, endpoint observe.Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events.mu.Lock()
	defer b.events.mu.Unlock()
	ended, hedged, suppressed, called := map[int]int{}, map[int]int{}, 0, 0
	for _, e := range b.events.got {
		switch {
		case called > 0:
			t.Fatalf("emitted after the call's end: %+v", e)
		case e.Kind == observe.AttemptEnd:
			if ended[e.Attempt]++; (e.Attempt > 1) != (e.AttemptKind == observe.HedgeAttempt) {
				t.Fatalf("attempt %d is a %v", e.Attempt, e.AttemptKind)
			}
		case e.Kind == observe.Hedged && e.Hedge == observe.HedgeSuppressed:
			suppressed++
		case e.Kind == observe.Hedged:
			hedged[e.Attempt]++
		case e.Kind == observe.CallEnd:
			called++
		}
	}
	if called != 1 || b.finished.Load() != 1 || suppressed > 1 {
		t.Fatalf("%d calls ended, OnFinish %d times, %d hedges suppressed", called, b.finished.Load(), suppressed)
	}
	// One that lost before it came to run is an attempt that began nothing.
	if len(ended) < b.attempts {
		t.Fatalf("%d attempts, ends of %v", b.attempts, ended)
	}
	for n := range len(ended) {
		if ended[n+1] != 1 || (hedged[n+1] == 1) != (n > 0) {
			t.Fatalf("attempt %d ended %d times, hedged %d times", n+1, ended[n+1], hedged[n+1])
		}
	}
	if state, ok := endpoint.LimitState(); !ok || state.InFlight != 0 {
		t.Fatalf("limit %+v", state)
	}
	least := 5 - float64(max(0, len(ended)-1)) // and 0.2 for success
	if tokens, ok := endpoint.BudgetTokens(); !ok || tokens < least-0.01 || tokens > least+0.21 {
		t.Fatalf("%v tokens after %d attempts", tokens, len(ended))
	}
}

func (b *books) suite(t *testing.T, draw *rapid.T) (*interceptors.Suite, *observe.Endpoint) {
	endpoint := new(observe.Endpoint)
	p := interceptors.Policy{
		Hedge: interceptors.Hedge{
			MaxAttempts: rapid.IntRange(2, 4).Draw(draw, "MaxAttempts"),
			Delay:       time.Duration(rapid.SampledFrom([]int{0, 1, 5, 10}).Draw(draw, "Delay")) * ms,
			NonFatal:    rapid.SampledFrom([]astracodes.Set{0, astracodes.Of(codes.Unavailable, codes.Canceled)}).Draw(draw, "NonFatal"),
		},
		Budget:  interceptors.Budget{Burst: 5, MinPerSecond: 1e-9},
		Breaker: interceptors.Breaker{Consecutive: 1, SlowCall: 5 * ms},
		Limit:   interceptors.Limit{MaxConcurrent: 1},
	}
	if rapid.Bool().Draw(draw, "attempt timeout") {
		p.AttemptTimeout = time.Duration(rapid.IntRange(1, 20).Draw(draw, "AttemptTimeout")) * ms
	}
	s := newSuite(t, interceptors.WithObserver(&b.events, ask(func(e observe.Endpoint) { *endpoint = e })),
		interceptors.WithLogger(slog.New(slog.DiscardHandler)), interceptors.WithMethodPolicy(method, p))
	return s, endpoint
}

// caller draws when the caller's context ends, if it does.
func caller(ctx context.Context, draw *rapid.T) (context.Context, context.CancelFunc) {
	d := time.Duration(rapid.IntRange(1, 30).Draw(draw, "patience")) * ms
	switch rapid.SampledFrom([]string{"waits", "waits", "cancels", "expires"}).Draw(draw, "caller") {
	case "cancels":
		return cancelAfter(d)(ctx)
	case "expires":
		return expireAfter(d)(ctx)
	}
	return context.WithCancel(ctx)
}

// apart runs f where it may panic or exit, and reports how it ended.
func apart(f func()) (how string) {
	done := make(chan string, 1)
	go func() {
		how := "exited"
		defer func() {
			if p := recover(); p != nil {
				how = fmt.Sprint("panicked: ", p)
			}
			done <- how
		}()
		f()
		how = "returned"
	}()
	return <-done
}

// TestHedgedCallsKeepTheirBooks: whatever attempts do and whenever the caller
// goes, everything is emitted, settled and given back once, and nothing lives on.
func TestHedgedCallsKeepTheirBooks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			b, parts := new(books), drawParts(rt)
			s, endpoint := b.suite(t, rt)
			ctx, cancel := caller(t.Context(), rt)
			defer cancel()
			reply := wrapperspb.String("stale")
			var trailer metadata.MD
			var err error
			how := apart(func() {
				err = s.UnaryClientInterceptor()(ctx, method, wrapperspb.String("q"), reply, nil,
					func(ctx context.Context, _ string, req, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
						n, p := b.begin(parts)
						reply.(*wrapperspb.StringValue).Value = "broken"
						md, err := p.play(ctx)
						if err == nil {
							reply.(*wrapperspb.StringValue).Value = fmt.Sprint(n)
						}
						for _, o := range opts {
							if o, ok := o.(grpc.TrailerCallOption); ok {
								*o.TrailerAddr = metadata.Join(md, metadata.Pairs("n", fmt.Sprint(n)))
							}
						}
						if req.(*wrapperspb.StringValue).GetValue() != "q" {
							panic("request changed")
						}
						return err
					}, grpc.Trailer(&trailer), grpc.OnFinish(func(error) { b.finished.Add(1) }))
			})
			was := reply.GetValue()
			b.check(rt, *endpoint)
			if how == "returned" && err == nil && (len(trailer.Get("n")) != 1 || trailer.Get("n")[0] != was) {
				rt.Fatalf("reply of %q, trailer of %v", was, trailer)
			}
			time.Sleep(time.Hour)
			if reply.GetValue() != was {
				rt.Fatalf("the reply changed from %q to %q", was, reply.GetValue())
			}
		})
	})
}

// scripted is an inner stream of a part.
type scripted struct {
	part
	n         int
	ctx       context.Context
	headed    chan struct{}
	over      chan struct{}
	trailer   metadata.MD
	err       error
	delivered atomic.Bool
}

func (s *scripted) SendMsg(any) error        { return nil }
func (s *scripted) CloseSend() error         { return nil }
func (s *scripted) Context() context.Context { return s.ctx }
func (s *scripted) Trailer() metadata.MD {
	select {
	case <-s.over:
		return s.trailer
	default:
		return nil
	}
}
func (s *scripted) Header() (metadata.MD, error) {
	if s.end == "empty" {
		<-s.over
		return nil, nil
	}
	select {
	case <-s.headed:
		return metadata.MD{}, nil
	case <-s.over:
		select {
		case <-s.headed:
			return metadata.MD{}, nil
		default:
			return nil, nil
		}
	}
}

func (s *scripted) RecvMsg(m any) error {
	if s.end == "panic" || s.end == "goexit" {
		_, _ = s.play(s.ctx)
	}
	<-s.over
	switch {
	case s.err != nil:
		return s.err
	case s.end == "empty" || s.delivered.Swap(true):
		return io.EOF
	}
	m.(*wrapperspb.StringValue).Value = fmt.Sprint(s.n)
	return nil
}

// TestHedgedStreamsKeepTheirBooks is the same of streams, whatever is called
// when.
func TestHedgedStreamsKeepTheirBooks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			b, parts := new(books), drawParts(rt)
			s, endpoint := b.suite(t, rt)
			ctx, cancel := caller(t.Context(), rt)
			defer cancel()
			streamer := func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				n, p := b.begin(parts)
				in := &scripted{part: p, n: n, ctx: ctx, headed: make(chan struct{}), over: make(chan struct{})}
				go func() {
					defer close(in.over)
					switch p.end {
					case "empty":
					case "panic", "goexit":
						close(in.headed)
						return
					default:
						if pass(ctx, p.header) == nil {
							close(in.headed)
						}
					}
					in.trailer, in.err = p.play(ctx)
				}()
				return in, nil
			}
			calls := rapid.SliceOfN(rapid.SampledFrom([]string{"send", "recv", "header", "context", "close", "nap"}), 0, 6).Draw(rt, "calls")
			beside := rapid.SampledFrom([]string{"", "header", "close", "context"}).Draw(rt, "beside")
			var all sync.WaitGroup
			how := apart(func() {
				stream, err := s.StreamClientInterceptor()(ctx, &grpc.StreamDesc{ServerStreams: true}, nil, method, streamer,
					grpc.OnFinish(func(error) { b.finished.Add(1) }))
				if err != nil {
					return
				}
				if beside != "" {
					all.Go(func() {
						time.Sleep(3 * ms)
						apart(func() { use(stream, beside) })
					})
				}
				for _, do := range append(calls, "send", "close") {
					if do == "nap" {
						time.Sleep(6 * ms)
					} else if errors.Is(use(stream, do), io.EOF) {
						break
					}
				}
				for use(stream, "recv") == nil {
				}
				stream.Trailer()
				stream.Context()
			})
			if how != "returned" {
				cancel()
			}
			all.Wait()
			time.Sleep(time.Hour)
			b.check(rt, *endpoint)
		})
	})
}

func use(s grpc.ClientStream, do string) error {
	switch do {
	case "send":
		return s.SendMsg(wrapperspb.String("q"))
	case "close":
		return s.CloseSend()
	case "header":
		_, err := s.Header()
		return err
	case "context":
		s.Context()
		return nil
	}
	return s.RecvMsg(new(wrapperspb.StringValue))
}
