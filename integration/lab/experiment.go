package lab

import (
	"context"
	"flag"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	long   = flag.Bool("long", false, "run each experiment for five times as long")
	update = flag.Bool("update-docs", false, "write the tables into docs/no-harm.md")
)

// tries is how often an experiment must show harm for it to be believed.
const tries = 3

// tolerable is how late calls may begin.
const tolerable = 500 * time.Millisecond

// Experiment drives and breaks two clients for a time.
type Experiment struct {
	// Bare and Astra are the clients.
	Bare, Astra *Side

	// Later is a delay allowed besides: of a call that fails, where the client waits
	// from its failure on before it tries again.
	Later time.Duration

	ctx context.Context // ends when no more calls are to begin
	wg  sync.WaitGroup

	mu   sync.Mutex
	late time.Duration // the most that calls of Load began too late
}

// Compare runs an experiment for d, or five times as long in the long form, and
// fails the test if a row shows harm. What looks like harm is measured twice more,
// since other programs of the machine can delay one side by chance; duplicates
// that the bare client has none of are believed at once. On a machine too busy to
// begin calls in time, both sides are at the mercy of its scheduler: then only
// duplicates are judged.
//
// setUp makes the clients, begins load and faults, and returns; what it returns
// is called when the load has ended, to look for duplicates and to end clients.
func Compare(t *testing.T, client, fault string, d time.Duration, setUp func(t testing.TB, x *Experiment) (finish func())) {
	t.Helper()
	if *long {
		d *= 5
	}
	var rows []Row
	for try := range tries {
		var late time.Duration
		rows, late = run(t, client, fault, d, setUp)
		worse, sure := 0, false
		for _, r := range rows {
			harms := r.Harms()
			proof := r.proof()
			if len(harms) == 0 || late > tolerable && !proof {
				continue
			}
			worse++
			sure = sure || proof
			t.Logf("%s, %s, %s: worse with the suite: %s", r.Client, r.Call, r.Fault, strings.Join(harms, "; "))
		}
		if late > tolerable {
			t.Logf("%s, %s: calls began up to %v late: the machine is too busy, only duplicates are judged", client, fault, late)
			busy()
		}
		if worse == 0 {
			break
		}
		if try == tries-1 || sure {
			t.Errorf("%s, %s: %d rows are worse with the suite than without it", client, fault, worse)
			break
		}
	}
	report(rows)
}

// run runs the experiment once.
func run(t *testing.T, client, fault string, d time.Duration, setUp func(t testing.TB, x *Experiment) func()) (rows []Row, late time.Duration) {
	t.Helper()
	t.Run(fault, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), d)
		defer stop()
		x := &Experiment{Bare: newSide(t, "bare"), Astra: newSide(t, "astra"), ctx: ctx}
		x.Astra.install(t)
		finish := setUp(t, x)
		x.wg.Wait()
		finish()
		late = x.late
		for i, b := range x.Bare.records {
			a := x.Astra.records[i] // set up alike
			row := Row{Client: client, Call: b.call, Fault: fault, Later: x.Later, Repeats: b.repeats, Bare: x.Bare.result(b), Astra: x.Astra.result(a)}
			if row.Bare.OK() == 0 {
				t.Errorf("%s: the bare client succeeded never, so the row says nothing", b.call)
			}
			t.Logf("%s\n%s  refused by the breaker: %d\n  failures, bare:%s\n  failures, astra:%s",
				b.call, row.Markdown(), row.Astra.Refused, b.errors(), a.errors())
			rows = append(rows, row)
		}
	})
	return rows, late
}

// Each calls f for both sides.
func (x *Experiment) Each(f func(*Side)) {
	f(x.Bare)
	f(x.Astra)
}

// Both returns what f makes for each side.
func Both[T any](x *Experiment, f func(*Side) T) map[*Side]T {
	return map[*Side]T{x.Bare: f(x.Bare), x.Astra: f(x.Astra)}
}

// Await waits until done reports true, for d at most, and reports whether it did.
func Await(d time.Duration, done func() bool) bool {
	late := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-late:
			return false
		}
	}
	return true
}

// Context ends when no more calls are to begin.
func (x *Experiment) Context() context.Context { return x.ctx }

// Load begins a call of both sides perSecond times a second, all on goroutines of
// their own, whether or not those before have ended.
func (x *Experiment) Load(perSecond int, call func(s *Side, i int)) {
	period, start := time.Second/time.Duration(perSecond), time.Now()
	x.Every(period, func(i int) {
		x.began(time.Since(start) - time.Duration(i+1)*period)
		x.Each(func(s *Side) { x.wg.Go(func() { call(s, i) }) })
	})
}

// Every calls f every d until the time is over, on one goroutine. The first call
// comes after d, and i counts from 0.
func (x *Experiment) Every(d time.Duration, f func(i int)) {
	x.wg.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				f(i)
			case <-x.ctx.Done():
				return
			}
		}
	})
}

// began notes how late calls began.
func (x *Experiment) began(late time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.late = max(x.late, late)
}

// Go runs f beside the load, which is waited for.
func (x *Experiment) Go(f func()) { x.wg.Go(f) }

// Cut cuts all connections of both sides every d, after each has answered nothing for a
// while: see Proxy.Cut.
func (x *Experiment) Cut(every, silent time.Duration) {
	x.Every(every, func(int) { x.proxies(func(p *Proxy) error { p.Cut(silent); return nil }) })
}

// Refuse refuses connections of both sides for a while, every d.
func (x *Experiment) Refuse(t testing.TB, every, away time.Duration) {
	x.Every(every, func(int) {
		x.proxies(func(p *Proxy) error {
			err := p.Refuse(away)
			if err != nil {
				t.Error(err)
			}
			return err
		})
	})
}

func (x *Experiment) proxies(f func(*Proxy) error) {
	var wg sync.WaitGroup
	x.Each(func(s *Side) {
		for _, p := range s.proxies {
			wg.Go(func() { _ = f(p) })
		}
	})
	wg.Wait()
}
