package balancer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

// cell runs a load against n backends in virtual time.
func cell(t *testing.T, n int, ld load, c contender) (r *result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, n, false)
		defer l.close()
		r = ld.run(l, c)
	})
	t.Logf("N=%d %-22s %v", n, c.name, r)
	return r
}

func faulty(rate int, b behaviour) load {
	return load{rate: rate, warm: 2 * time.Second, fault: 10 * time.Second, rest: 15 * time.Second,
		begin: func(l *lab) { l.nodes[0].do(b) }, end: func(l *lab) { l.nodes[0].do(works(usual)) }}
}

func TestOneBad(t *testing.T) {
	for _, n := range []int{2, 3, 5, 10} {
		for name, b := range map[string]behaviour{"refusing": fails(codes.Unavailable), "hanging": hangs, "half": sometimes(0.5, codes.Unavailable)} {
			t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
				cell(t, n, faulty(200, b), bare("round_robin"))
				cell(t, n, faulty(200, b), balanced)
				cell(t, n, faulty(200, b), balancedOne)
				cell(t, n, faulty(200, b), costed)
			})
		}
	}
}
