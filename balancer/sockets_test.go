package balancer_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

// TestSockets is what virtual time has shown, over loopback: two faults, for 2 s
// each; with -long all faults, for 10 s, and N = 2, 3, 5. A loaded machine has a tail of its
// own, so what is compared is bare grpc-go beside it.
func TestSockets(t *testing.T) {
	type row struct {
		name       string
		begin, end func(l *lab)
	}
	bad := func(b behaviour) func(l *lab) { return func(l *lab) { l.nodes[0].do(b) } }
	mend := bad(works(usual))
	rows := []row{
		{"refusing", bad(fails(codes.Unavailable)), mend},
		{"frozen", func(l *lab) { l.nodes[0].freeze() }, func(l *lab) { l.nodes[0].unfreeze() }},
		{"hanging", bad(hangs), mend},
		{"failing half", bad(sometimes(0.5, codes.Unavailable)), mend},
		{"down", func(l *lab) { l.nodes[0].srv.Stop() }, func(l *lab) { l.serve(l.nodes[0]) }},
	}
	sizes, fault, rest := []int{2}, 2*time.Second, time.Second
	contenders := []contender{balanced}
	switch {
	case testing.Short():
		rows = rows[:1]
	case *long:
		sizes, fault, rest = []int{2, 3, 5}, 10*time.Second, 10*time.Second
		contenders = append(contenders, costed, balancedOne)
	default:
		rows = rows[:2]
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			for _, n := range sizes {
				ld := load{rate: 200, warm: time.Second, fault: fault, rest: rest, begin: r.begin, end: r.end}
				least := 0.0
				for i, c := range append([]contender{bare("round_robin")}, contenders...) {
					l := newLab(t, n, true)
					got := ld.run(l, c)
					l.close()
					t.Logf("N=%d %-22s %v", n, c.name, got)
					if i == 0 {
						least = got.success()
						continue
					}
					if got.success() < least-noise || c.name != balancedOne.name && got.success() < 99 {
						t.Errorf("N=%d: %s: %.2f %% of calls succeeded, %.2f %% with bare grpc-go", n, c.name, got.success(), least)
					}
					if got.opened > 0 {
						t.Errorf("N=%d: %s: the target's breaker opened", n, c.name)
					}
				}
			}
		})
	}
}
