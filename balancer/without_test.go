package balancer_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
)

var (
	mere     = today("mere defaults", interceptors.Policy{})
	mereOne  = today("defaults, not retried", interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}})
	shortOne = today("AttemptTimeout, not retried", notRetried())
)

// TestWithoutBalancingNeverBelowBare: a suite that leaves the choice of backends to
// round_robin never has fewer calls succeed than bare grpc-go, as long as one of
// them serves: its breaker must not take the good for the bad.
func TestWithoutBalancingNeverBelowBare(t *testing.T) {
	all, most := []fault{
		{"refusing", faulty(200, fails(codes.Unavailable)), false},
		{"hanging", faulty(200, hangs), false},
		{"failing half", faulty(200, sometimes(0.5, codes.Unavailable)), false},
		{"refusing, little traffic", faulty(15, fails(codes.Unavailable)), false},
	}, sizes()
	switch {
	case *long:
		all = append(all, faults()...)
	case testing.Short():
		all, most = all[:1], most[:1]
	default:
		most = most[:1]
	}
	for _, f := range all {
		if f.all {
			continue // the target is bad, which is what a breaker is for
		}
		f.load.rest = 100 * time.Millisecond // what comes after the fault is not looked at
		t.Run(f.name, func(t *testing.T) {
			for _, n := range most {
				least := cell(t, n, f.load, bare("round_robin")).success()
				for _, c := range []contender{mere, mereOne, shortOne} {
					r := cell(t, n, f.load, c)
					if r.success() < least-noise && c.name != shortOne.name { // that one waits for less, if it has to
						t.Errorf("N=%d: %s: %.2f %% of calls succeeded, %.2f %% with bare grpc-go", n, c.name, r.success(), least)
					}
					if r.opened > 0 {
						t.Errorf("N=%d: %s: the target's breaker opened %d times", n, c.name, r.opened)
					}
				}
			}
		})
	}
}

// TestWithoutBalancingAllBad: where every backend fails the breaker opens as it does
// for one.
func TestWithoutBalancingAllBad(t *testing.T) {
	for _, n := range sizes() {
		bubble(t, n, func(t *testing.T, l *lab) {
			cc, counter, end := mereOne.dial(l)
			defer end()
			g := greeterpb.NewGreeterClient(cc)
			say := func() error {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, err := g.SayHello(ctx, &greeterpb.HelloRequest{})
				return err
			}
			for range 50 {
				if err := say(); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range l.nodes {
				n.do(fails(codes.Unavailable))
			}
			failed := 0
			for ; counter.opened.Load() == 0; failed++ {
				if err := say(); err == nil || failed > 7 {
					t.Fatalf("after %d calls: %v, and the breaker is closed", failed, err)
				}
			}
			if failed != 7 {
				t.Errorf("N=%d: the breaker opened after %d failures, want 7", n, failed)
			}
		})
	}
}

// TestWithoutBalancingBursts: a hundred calls at once, of which half fail before the
// others are answered. In the first burst nothing is known yet of who serves.
func TestWithoutBalancingBursts(t *testing.T) {
	for _, pause := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 8 * time.Second} {
		bubble(t, 2, func(t *testing.T, l *lab) {
			cc, _, end := mereOne.dial(l)
			defer end()
			burst := func() int64 {
				var served atomic.Int64
				var calls sync.WaitGroup
				for range 100 {
					calls.Go(func() {
						if _, err := greeterpb.NewGreeterClient(cc).SayHello(t.Context(), &greeterpb.HelloRequest{}); err == nil {
							served.Add(1)
						}
					})
				}
				calls.Wait()
				time.Sleep(pause)
				return served.Load()
			}
			if n := burst(); n != 100 {
				t.Fatalf("%d of 100 calls are served, though all is well", n)
			}
			l.nodes[0].do(fails(codes.Unavailable))
			for i := range 10 {
				if n := burst(); n < 49 && i > 0 {
					t.Errorf("pauses of %v, burst %d: %d of 100 calls are served, half of which go to a backend that serves", pause, i, n)
				}
			}
		})
	}
}

// TestWithoutBalancingStreams: streams of a method that one backend of two serves.
func TestWithoutBalancingStreams(t *testing.T) {
	for name, does := range map[string]behaviour{"refusing": fails(codes.Unavailable), "hanging": hangs} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 2, func(t *testing.T, l *lab) {
				cc, counter, end := mereOne.dial(l)
				defer end()
				for l.nodes[0].seen.Load() == 0 || l.nodes[1].seen.Load() == 0 { // else see TestWithoutBalancingColdStart
					if err := receiveAll(cc); err != nil {
						t.Fatal(err)
					}
				}
				l.nodes[0].do(does)
				served := 0
				for range 100 {
					if receiveAll(cc) == nil {
						served++
					}
				}
				if served < 49 || counter.opened.Load() > 0 { // by turns
					t.Errorf("%d of 100 streams were served, half of which went to a backend that serves; the breaker opened %d times", served, counter.opened.Load())
				}
			})
		})
	}
}

func receiveAll(cc *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	s, err := greeterpb.NewGreeterClient(cc).SayHelloServerStream(ctx, &greeterpb.HelloRequest{})
	for err == nil {
		_, err = s.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// TestWithoutBalancingColdStart: calls that wait for the first connection all go to the
// backend that is connected first, which fails them. Nothing is known of another yet, so
// the breaker opens; the probe that refused calls earn finds out, a fraction of a second
// later.
func TestWithoutBalancingColdStart(t *testing.T) {
	runs, half := 10, int64(500)
	if testing.Short() {
		runs = 3
	}
	for range runs {
		bubble(t, 2, func(t *testing.T, l *lab) {
			l.nodes[0].do(fails(codes.Unavailable))
			both := l.nodes
			l.nodes = both[:1]
			l.resolve()
			cc, _, end := mereOne.dial(l)
			defer end()
			time.AfterFunc(2*time.Millisecond, func() {
				l.nodes = both
				l.resolve()
			})
			var served, late atomic.Int64
			var calls sync.WaitGroup
			say := func(n *atomic.Int64) {
				calls.Go(func() {
					if _, err := greeterpb.NewGreeterClient(cc).SayHello(t.Context(), &greeterpb.HelloRequest{}); err == nil {
						n.Add(1)
					}
				})
			}
			for range 50 {
				say(&served)
			}
			for range 2 * half { // of which bare grpc-go has half served
				say(&served)
				time.Sleep(5 * time.Millisecond)
			}
			for range 2 * half {
				say(&late)
				time.Sleep(5 * time.Millisecond)
			}
			calls.Wait()
			if n := served.Load(); n < half-100 {
				t.Errorf("%d of 1000 calls of the first five seconds served, want about half", n)
			}
			if n := late.Load(); n < half-1 {
				t.Errorf("%d of 1000 calls served after that, want half", n)
			}
		})
	}
}
