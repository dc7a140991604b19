package balancer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
)

// cell runs a load against n backends in virtual time.
func cell(t *testing.T, n int, ld load, c contender) (r *result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, n, false)
		defer l.close()
		r = ld.run(l, c)
	})
	t.Logf("N=%-2d %-22s %v", n, c.name, r)
	return r
}

// faulty is a load whose first backend does something else for 10 s.
func faulty(rate int, b behaviour) load {
	return load{rate: rate, warm: 2 * time.Second, fault: 10 * time.Second, rest: 15 * time.Second,
		begin: func(l *lab) { l.nodes[0].do(b) }, end: func(l *lab) { l.nodes[0].do(works(usual)) }}
}

// want is what a cell must show.
type want struct {
	success, perCall float64
	stop, back       time.Duration
}

func (w want) check(t *testing.T, name string, r *result) {
	t.Helper()
	if r.success() < w.success {
		t.Errorf("%s: %.2f %% of calls succeeded, want %v", name, r.success(), w.success)
	}
	if w.perCall > 0 && r.perCall() > w.perCall {
		t.Errorf("%s: %.3f attempts a call, want at most %v", name, r.perCall(), w.perCall)
	}
	if w.stop > 0 && (r.stop < 0 || r.stop > w.stop) {
		t.Errorf("%s: the bad one was left alone after %v, want %v", name, r.stop, w.stop)
	}
	if w.back > 0 && (r.back < 0 || r.back > w.back) {
		t.Errorf("%s: it was back after %v, want %v", name, r.back, w.back)
	}
	if r.opened > 0 {
		t.Errorf("%s: the target's breaker opened %d times", name, r.opened)
	}
}

func sizes() []int {
	switch {
	case *long:
		return []int{2, 3, 5, 10}
	case testing.Short():
		return []int{2}
	}
	return []int{2, 3}
}

// TestOneBad: one of N refuses, hangs, or fails half. The others serve all calls.
func TestOneBad(t *testing.T) {
	for _, tc := range []struct {
		name   string
		does   behaviour
		wanted [3]want // balanced, balanced but not retried, p2c
	}{
		{"refusing", fails(codes.Unavailable), [3]want{
			{99.9, 1.05, time.Second / 2, 5 * time.Second}, {99, 1, time.Second / 2, 5 * time.Second}, {99.9, 1.05, time.Second / 2, 5 * time.Second}}},
		{"hanging", hangs, [3]want{
			{99.9, 1.05, time.Second / 2, 5 * time.Second}, {99, 1, time.Second / 2, 5 * time.Second}, {99.9, 1.05, time.Second / 2, 5 * time.Second}}},
		{"failing half", sometimes(0.5, codes.Unavailable), [3]want{
			{99.9, 1.08, 5 * time.Second, 5 * time.Second}, {97, 1, 0, 0}, {99.9, 1.08, 5 * time.Second, 0}}},
	} {
		if testing.Short() && tc.name != "refusing" {
			continue // it takes half a minute with the race detector
		}
		for _, n := range sizes() {
			t.Run(fmt.Sprintf("%s/%d", tc.name, n), func(t *testing.T) {
				for i, c := range []contender{balanced, balancedOne, costed} {
					tc.wanted[i].check(t, c.name, cell(t, n, faulty(200, tc.does), c))
				}
			})
		}
	}
}

// TestOneBadWithLittleTraffic: at 15 calls a second it is back within 12 s.
func TestOneBadWithLittleTraffic(t *testing.T) {
	if testing.Short() {
		t.Skip("as above")
	}
	for _, n := range sizes() {
		for name, b := range map[string]behaviour{"refusing": fails(codes.Unavailable), "hanging": hangs} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				ld := faulty(15, b)
				ld.fault, ld.rest = 40*time.Second, 20*time.Second
				want{99.9, 1.05, 0, 12 * time.Second}.check(t, balanced.name, cell(t, n, ld, balanced))
			})
		}
	}
}

// TestSlowOne: p2c leaves a slow backend all but alone, from before it has answered
// for the first time: after 5 s already its calls are fewer than one in a hundred.
func TestSlowOne(t *testing.T) {
	for _, n := range sizes() {
		for _, lasts := range []time.Duration{5 * time.Second, 10 * time.Second} {
			if testing.Short() && lasts > 5*time.Second {
				continue
			}
			well, ill := faulty(200, works(usual)), faulty(200, works(10*usual))
			well.fault, ill.fault = lasts, lasts
			healthy, slow := cell(t, n, well, costed), cell(t, n, ill, costed)
			if float64(slow.p99()) > 1.3*float64(healthy.p99()) || slow.success() < 100 {
				t.Errorf("N=%d, slow for %v: p99 is %v, %v without", n, lasts, slow.p99(), healthy.p99())
			}
			if slow.back < 0 || slow.back > 5*time.Second {
				t.Errorf("N=%d, slow for %v: back after %v, want 5 s at most", n, lasts, slow.back)
			}
		}
	}
}

// TestHedgesGoElsewhere: a hedge is never sent where its call waits.
func TestHedgesGoElsewhere(t *testing.T) {
	ld := faulty(200, works(10*usual))
	if !testing.Short() { // of fewer than 6000 calls, chance moves the p99 of three backends by as much as there is to spare
		ld.fault = 30 * time.Second
	}
	for _, n := range sizes() {
		before := cell(t, n, ld, today("hedged as today", hedged()))
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, n, false)
			defer l.close()
			r := ld.run(l, suite("hedged elsewhere", hedged(), interceptors.WithBalancing(interceptors.Balancing{})))
			t.Logf("N=%-2d hedged elsewhere %v", n, r)
			for _, node := range l.nodes {
				if call, k := node.mostOfOneCall(); k > 1 {
					t.Errorf("N=%d: call %s went to the same backend %d times", n, call, k)
				}
			}
			if n <= 3 && float64(r.p99()) > 0.35*float64(before.p99()) {
				t.Errorf("N=%d: p99 is %v, %v with hedges that may go to the same backend", n, r.p99(), before.p99())
			}
		})
	}
}

// A fault that nobody tuned for: callers must not be worse off than with bare
// grpc-go.
type fault struct {
	name string
	load load
	all  bool // the whole target is bad: what refuses then is its breaker, as without balancing
}

func restart(l *lab, n *node) {
	n.srv.Stop()
	time.Sleep(300 * time.Millisecond)
	l.serve(n)
}

func capacity(perSecond int, full codes.Code) behaviour {
	ok := works(usual)
	var inFlight atomic.Int64
	most := int64(perSecond) * int64(usual) / int64(time.Second)
	return func(ctx context.Context, name string) error {
		defer inFlight.Add(-1)
		if inFlight.Add(1) > most {
			return status.Error(full, "full")
		}
		return ok(ctx, name)
	}
}

func faults() []fault {
	with := func(begin, end func(l *lab)) load {
		return load{rate: 200, warm: 2 * time.Second, fault: 10 * time.Second, rest: 3 * time.Second, begin: begin, end: end}
	}
	every := func(b behaviour) func(l *lab) {
		return func(l *lab) {
			for _, n := range l.nodes {
				n.do(b)
			}
		}
	}
	mend := every(works(usual))
	return []fault{
		{"nothing", with(nil, nil), false},
		{"frozen", with(func(l *lab) { l.nodes[0].freeze() }, func(l *lab) { l.nodes[0].unfreeze() }), false},
		{"exhausted", with(func(l *lab) { l.nodes[0].do(fails(codes.ResourceExhausted)) }, mend), false},
		{"internal", with(func(l *lab) { l.nodes[0].do(fails(codes.Internal)) }, mend), false},
		{"not found", with(func(l *lab) { l.nodes[0].do(fails(codes.NotFound)) }, mend), false},
		{"slow", with(func(l *lab) { l.nodes[0].do(works(10 * usual)) }, mend), false},
		{"flapping", with(func(l *lab) {
			go func() {
				for range 2 {
					l.nodes[0].do(fails(codes.Unavailable))
					time.Sleep(2500 * time.Millisecond)
					l.nodes[0].do(works(usual))
					time.Sleep(2500 * time.Millisecond)
				}
			}()
		}, mend), false},
		{"all refusing", with(every(fails(codes.Unavailable)), mend), true},
		{"all half failing", with(every(sometimes(0.5, codes.Unavailable)), mend), true},
		{"all at 20 %", with(every(sometimes(0.2, codes.Unavailable)), mend), false},
		{"all at 5 %", with(every(sometimes(0.05, codes.Unavailable)), mend), false},
		{"rolling restart", with(func(l *lab) {
			go func() {
				for _, n := range l.nodes[:min(3, len(l.nodes))] {
					restart(l, n)
					time.Sleep(2 * time.Second)
				}
			}()
		}, nil), false},
		{"down", with(func(l *lab) { l.nodes[0].srv.Stop() }, func(l *lab) { l.serve(l.nodes[0]) }), false},
		{"replaced", with(func(l *lab) {
			l.nodes[0].do(fails(codes.Unavailable))
			old := l.nodes[0]
			go func() {
				time.Sleep(3 * time.Second)
				l.nodes[0] = l.node()
				l.nodes[0].seen.Store(old.seen.Load())
				l.resolve()
				time.Sleep(time.Second)
				old.srv.Stop()
			}()
		}, nil), false},
		{"uneven capacity", with(func(l *lab) { l.nodes[0].do(capacity(50, codes.Unavailable)) }, mend), false},
		{"starved", with(func(l *lab) {
			for i, n := range l.nodes {
				n.do(capacity([]int{50, 100}[i%2], codes.Unavailable))
			}
		}, mend), true},
		{"one of a method's inputs fails everywhere", with(func(l *lab) {
			for _, n := range l.nodes {
				ok := works(usual)
				n.do(func(ctx context.Context, name string) error {
					if len(name) > 0 && name[len(name)-1] == '7' {
						return status.Error(codes.Unavailable, "poison")
					}
					return ok(ctx, name)
				})
			}
		}, mend), false},
		{"pauses", with(func(l *lab) {
			go func() {
				for range 12 {
					n := l.nodes[rand.IntN(len(l.nodes))]
					n.freeze()
					time.Sleep(200 * time.Millisecond)
					n.unfreeze()
					time.Sleep(500 * time.Millisecond)
				}
			}()
		}, nil), false},
	}
}

// TestNeverBelowBare: success is bare grpc-go's at least, whatever happens.
func TestNeverBelowBare(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			for _, n := range sizes()[:max(1, len(sizes())-1)] {
				least := cell(t, n, f.load, bare("round_robin")).success()
				for i, c := range []contender{balanced, balancedOne, costed} {
					least := least
					if f.all {
						least = min(least, cell(t, n, f.load, []contender{unbalanced, unbalanced1, unbalanced}[i]).success()-4*noise) // when the breaker opens is chance, and for how long
					}
					r := cell(t, n, f.load, c)
					if r.success() < least-noise {
						t.Errorf("N=%d: %s: %.2f %% of calls succeeded, %.2f %% with bare grpc-go", n, c.name, r.success(), least)
					}
					if r.ejections > 0 && (f.name == "nothing" || f.name == "all at 5 %") {
						t.Errorf("N=%d: %s: %d ejections", n, c.name, r.ejections)
					}
				}
			}
		})
	}
}

// noise is what two runs of the same may differ by.
const noise = 4

// TestManyClients: twenty suites see the same fault, each for itself.
func TestManyClients(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute, with the race detector")
	}
	for _, c := range []contender{balanced, costed} {
		ld := faulty(1000, fails(codes.Unavailable))
		ld.clients = 20
		want{99.9, 1.05, time.Second, 12 * time.Second}.check(t, c.name, cell(t, 3, ld, c)) // 50/s each
	}
}
