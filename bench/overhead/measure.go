package overhead

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"testing"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

// roundTime is how long a benchmark runs in each round, as -benchtime has it:
// rounds are many and short, so that on a busy machine some are left alone.
const roundTime = "8ms"

// Overhead is what is measured: contenders, and a series for each.
type Overhead struct {
	closers []func()
	cc      *grpc.ClientConn

	winners          []Contender
	serial, parallel []series

	losers  []Contender
	failing []series

	loopback                     []client
	endToEnd, perMessage, setUps []series
}

// New makes the contenders. Close it.
func New() (*Overhead, error) {
	o := &Overhead{}
	var err error
	if o.cc, err = o.unused(); err != nil {
		return nil, err
	}
	if o.loopback, err = o.clients(); err != nil {
		o.Close()
		return nil, err
	}
	o.winners, o.losers = o.contenders(), o.failers()
	o.serial = make([]series, len(o.winners))
	o.parallel = make([]series, len(o.winners))
	o.failing = make([]series, len(o.losers))
	o.endToEnd = make([]series, len(o.loopback))
	o.perMessage = make([]series, astraClient+1)
	o.setUps = make([]series, len(o.loopback))
	return o, nil
}

func (o *Overhead) onClose(f func()) { o.closers = append(o.closers, f) }

// Close ends suites, connections and the server.
func (o *Overhead) Close() {
	for i := len(o.closers) - 1; i >= 0; i-- {
		o.closers[i]()
	}
}

// Measure adds rounds to all series, on two processors: that is what parallel
// means here. A round is everybody's turn, A B C A B C …, so that what disturbs
// the machine disturbs all of them alike. progress is called at each round's end.
func (o *Overhead) Measure(ctx context.Context, rounds int, progress func(round int)) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	restore, err := setBenchtime(roundTime)
	if err != nil {
		return err
	}
	defer restore()
	for round := range rounds {
		for _, turn := range o.turns() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := turn.series.add(turn.benchmark); err != nil {
				return fmt.Errorf("%s: %w", turn.name, err)
			}
		}
		progress(round + 1)
	}
	return nil
}

// turn is a benchmark, and where its result goes.
type turn struct {
	name      string
	series    *series
	benchmark func(*testing.B)
}

func (o *Overhead) turns() (all []turn) {
	for i, c := range o.winners {
		all = append(all, turn{c.Name, &o.serial[i], serial(c, o.cc)})
	}
	for i, c := range o.winners {
		all = append(all, turn{c.Name, &o.parallel[i], parallel(c, o.cc)})
	}
	for i, c := range o.losers {
		all = append(all, turn{c.Name, &o.failing[i], failing(c, o.cc)})
	}
	for i, c := range o.loopback {
		all = append(all, turn{c.name, &o.endToEnd[i], endToEnd(c)}, turn{c.name, &o.setUps[i], setUp(c)})
		if i < len(o.perMessage) {
			all = append(all, turn{c.name, &o.perMessage[i], perMessage(c)})
		}
	}
	return all
}

// setBenchtime sets how long testing.Benchmark runs.
func setBenchtime(d string) (restore func(), err error) {
	testing.Init() // outside a test nobody has
	f := flag.Lookup("test.benchtime")
	before := f.Value.String()
	return func() { _ = f.Value.Set(before) }, f.Value.Set(d)
}

// reply returns a message to answer into.
func reply() *greeterpb.HelloReply { return new(greeterpb.HelloReply) }
