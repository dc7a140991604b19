package tracing_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

// ledger sees every span begin and end.
type ledger struct {
	mu         sync.Mutex
	open       map[string]sdk.ReadOnlySpan
	calls, all int
	faults     []string
}

func (l *ledger) OnStart(_ context.Context, s sdk.ReadWriteSpan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all++
	if strings.HasPrefix(s.Name(), "Sent.") {
		l.calls++
	} else if l.open[s.Parent().SpanID().String()] == nil {
		l.faults = append(l.faults, s.Name()+" begins beneath no open call")
	}
	l.open[s.SpanContext().SpanID().String()] = s
}

func (l *ledger) OnEnd(s sdk.ReadOnlySpan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := s.SpanContext().SpanID().String()
	if l.open[id] == nil {
		l.faults = append(l.faults, s.Name()+" ends that is not open")
	}
	delete(l.open, id)
	for _, child := range l.open {
		if child.Parent().SpanID() == s.SpanContext().SpanID() {
			l.faults = append(l.faults, s.Name()+" ends before "+child.Name())
		}
	}
}

func (l *ledger) Shutdown(context.Context) error   { return nil }
func (l *ledger) ForceFlush(context.Context) error { return nil }

// TestEverySpanEndsOnce: whatever mix of outcomes, panics, cancellations,
// refusals and abandoned streams, side by side.
func TestEverySpanEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plans := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 6), 1, 4), 1, 12).Draw(rt, "calls")
		workers := rapid.IntRange(1, 6).Draw(rt, "workers")
		var faults []string
		synctest.Test(t, func(t *testing.T) {
			book := &ledger{open: map[string]sdk.ReadOnlySpan{}}
			tp := sdk.NewTracerProvider(sdk.WithSpanProcessor(book))
			s, err := interceptors.New(interceptors.WithObserver(tracing.New(tp)), interceptors.WithPolicy(interceptors.Policy{
				AttemptTimeout: time.Second, Breaker: interceptors.Breaker{Consecutive: 4}, Budget: interceptors.Budget{Burst: 5},
			}))
			if err != nil {
				t.Fatal(err)
			}
			call := s.UnaryClientInterceptor()
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for _, plan := range plans[w%len(plans):] {
						ctx, cancel := context.WithCancel(context.Background())
						n := 0
						beneath := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
							what := plan[min(n, len(plan)-1)]
							n++
							switch what {
							case 0, 1:
								return nil
							case 2:
								panic("beneath")
							case 3:
								cancel()
								return ctx.Err()
							case 4:
								return status.Error(codes.NotFound, "")
							case 5:
								<-ctx.Done()
								return ctx.Err()
							}
							time.AfterFunc(10*time.Millisecond, cancel) // in the backoff
							return status.Error(codes.Unavailable, "")
						}
						func() {
							defer func() { _ = recover() }()
							_ = call(ctx, hello, nil, nil, nil, beneath)
						}()
						cancel()
					}
				})
			}
			wg.Wait()
			calls := 0
			for w := range workers {
				calls += len(plans[w%len(plans):])
			}
			faults = book.faults
			if book.calls != calls {
				faults = append(faults, fmt.Sprintf("%d spans of %d calls", book.calls, calls))
			}
			for _, s := range book.open {
				faults = append(faults, s.Name()+" has never ended")
			}
		})
		for _, f := range faults {
			rt.Error(f)
		}
	})
}

// TestEverySpanEndsOnceOnTheWire does the same with calls and streams of each
// kind, hedged and not, on a server that fails by chance.
func TestEverySpanEndsOnceOnTheWire(t *testing.T) {
	book := &ledger{open: map[string]sdk.ReadOnlySpan{}}
	tp := sdk.NewTracerProvider(sdk.WithSpanProcessor(book))
	free := interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true}}
	side := free
	side.Hedge = interceptors.Hedge{MaxAttempts: 3, Delay: 10 * time.Millisecond}
	hedged := []interceptors.Option{interceptors.WithMethodPolicy(hello, side), interceptors.WithMethodPolicy(helloHedged, side)}
	bubble(t, setting{observer: tracing.New(tp), policy: free, suite: hedged}, func(t *testing.T, w *world) {
		w.Random(flakyserver.Any, 1,
			flakyserver.Mix{Rate: 0.3, Steps: []flakyserver.Step{down, down.AfterReceived(1), down.AfterReplies(1), down.Header(), flakyserver.Reset()}},
			flakyserver.Mix{Rate: 0.1, Steps: []flakyserver.Step{flakyserver.Hang(), flakyserver.Hang().AfterReplies(1)}},
		)
		var wg sync.WaitGroup
		const workers, each = 8, 60
		for n := range workers {
			wg.Go(func() {
				for i := range each {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					run := []func(context.Context, *world) error{serverStream, bidi, unary, hedgedStream, func(ctx context.Context, w *world) error {
						s, err := w.SayHelloClientStream(ctx)
						if err == nil && i%2 == 0 {
							_ = s.Send(ann())
							_, err = s.CloseAndRecv()
						}
						return err // the others are abandoned
					}}[(n+i)%5]
					_ = run(ctx, w)
					cancel()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		book.mu.Lock()
		defer book.mu.Unlock()
		for _, s := range book.open {
			t.Errorf("%s has never ended", s.Name())
		}
		for _, f := range book.faults {
			t.Error(f)
		}
		if book.calls != workers*each || book.all < 2*book.calls {
			t.Errorf("%d spans, %d of them of %d calls", book.all, book.calls, workers*each)
		}
	})
}

// helloHedged is a server stream that no other test uses.
const helloHedged = "/helloworld.Greeter/SayHelloHedged"

func hedgedStream(ctx context.Context, w *world) error {
	s, err := w.cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, helloHedged)
	if err != nil {
		return err
	}
	if err := s.SendMsg(ann()); err != nil {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return all(s)
}

func unary(ctx context.Context, w *world) error { return w.hello(ctx) }
