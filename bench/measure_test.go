package bench

import (
	"testing"

	"google.golang.org/grpc"
)

// overhead is what is measured: the contenders, and a series for each.
type overhead struct {
	cc *grpc.ClientConn

	contenders       []contender
	serial, parallel []series

	losers  []contender
	failing []series

	clients  []client
	endToEnd []series
}

func newOverhead(tb testing.TB) *overhead {
	o := &overhead{cc: newConn(tb), contenders: contenders(tb), losers: losers(tb), clients: clients(tb, serve(tb))}
	o.serial = make([]series, len(o.contenders))
	o.parallel = make([]series, len(o.contenders))
	o.failing = make([]series, len(o.losers))
	o.endToEnd = make([]series, len(o.clients))
	return o
}

// measure adds rounds to all series. A round is everybody's turn, A B C A B C …,
// so that what disturbs the machine disturbs all of them alike.
func (o *overhead) measure(t *testing.T, rounds int) {
	t.Helper()
	for range rounds {
		for i, c := range o.contenders {
			o.serial[i].add(t, serial(c, o.cc))
		}
		for i, c := range o.contenders {
			o.parallel[i].add(t, parallel(c, o.cc))
		}
		for i, c := range o.losers {
			o.failing[i].add(t, failing(c, o.cc))
		}
		for i, c := range o.clients {
			o.endToEnd[i].add(t, endToEnd(c))
		}
	}
}
