package real

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const (
	backendsRate       = 200 // calls a second
	backendsSideBySide = 12
	// lookEvery is how often the servers' attempts are read.
	lookEvery = 50 * time.Millisecond
	// shareOver is the time over which a server's share of them is judged.
	shareOver = time.Second
)

// farmSizes are how many backends there are.
var farmSizes = []int{2, 3}

// backendFault is what one of the backends does.
type backendFault struct {
	name  string
	begin func(*flakyserver.Server)
}

// Faults that gates look for.
const (
	faultNone   = "all well"
	faultRefuse = "refuses"
	faultHang   = "hangs"
	faultHalf   = "half fails"
	faultSlow   = "10 × slower"
)

var (
	served = flakyserver.OK().After(20 * time.Millisecond)
	denied = flakyserver.Fail(codes.Unavailable, "refused")
)

func always(step flakyserver.Step) func(*flakyserver.Server) {
	return func(s *flakyserver.Server) { s.Always(hello, step) }
}

var backendFaults = []backendFault{
	{faultNone, always(served)},
	{faultRefuse, always(denied)},
	{faultHang, always(flakyserver.Hang())},
	{faultHalf, func(s *flakyserver.Server) {
		s.Random(hello, 1, flakyserver.Mix{Rate: 0.5, Steps: []flakyserver.Step{denied}}, flakyserver.Mix{Rate: 0.5, Steps: []flakyserver.Step{served}})
	}},
	{faultSlow, always(flakyserver.OK().After(200 * time.Millisecond))},
}

func backends() lab.Scenario {
	return lab.Scenario{
		Name:  "backends",
		Title: "One of several backends goes bad",
		About: "Two or three servers behind one target, which take 20 ms; 200 calls a second, each with 2 s. After a second one of them refuses " +
			"every attempt at once, hangs, fails half, or takes ten times as long, for 5 s. Counted are the calls that succeed while it does, the attempts per call, " +
			"and how soon the bad server gets less than half of its share, and half of it again once it is well.",
		Real: true,
		Run:  runBackends,
	}
}

// backendsRun is what one run found, while a backend was bad.
type backendsRun struct {
	success  float64 // share of calls
	refused  float64 // by a breaker, share of calls
	attempts float64 // per call
	late     float64 // the bad one's share of the attempts in the second half
	p99      float64 // ms, of calls that succeed
	stop     recovered
	back     recovered
	calls    float64
	lags     []time.Duration // of the generator
}

// spell is how long a backend is bad, and calls go on afterwards.
type spell struct{ bad, after time.Duration }

func runBackends(ctx context.Context, o lab.Options) (*lab.Result, error) {
	clients := peers.BackendField(peers.BackendTuning)
	sizes, lasts := farmSizes, spell{5 * time.Second, 6 * time.Second}
	if o.Quick {
		sizes, lasts = sizes[:1], spell{2500 * time.Millisecond, 0}
	}
	repeats := min(o.Repeats(), 3) // there are many cells
	results := newBackendResults(clients, sizes, repeats)
	var jobs []job
	for c, client := range clients {
		for n, size := range sizes {
			for f, fault := range backendFaults {
				for r := range repeats {
					jobs = append(jobs, job{wellFor + lasts.bad + lasts.after, func(ctx context.Context) (err error) {
						run, _, err := undisturbed(func() (backendsRun, bool, error) { return goBad(ctx, client, size, fault, lasts) })
						results.runs[c][n][f][r] = run
						return err
					}})
				}
			}
		}
	}
	if err := fleet(ctx, o, backendsSideBySide, jobs); err != nil {
		return nil, err
	}
	return results.result(!o.Quick), nil
}

// look is how many attempts came until a moment, to the bad server and to all.
type look struct {
	at       time.Duration
	bad, all int64
}

// goBad is one run; healthy reports whether calls were answered before.
func goBad(ctx context.Context, c peers.Client, n int, fault backendFault, lasts spell) (run backendsRun, healthy bool, err error) {
	f, err := newFarm(ctx, c, n, served)
	if err != nil {
		return run, false, err
	}
	defer f.close()
	from, to := wellFor, wellFor+lasts.bad
	length := to + lasts.after
	var looks []look
	see := func(at time.Duration) { // events come one after the other
		bad, all := f.attempts()
		looks = append(looks, look{at, bad, all})
	}
	events := []load.Event{
		{At: from, Do: func(time.Duration) { fault.begin(f.server) }},
		{At: to, Do: func(time.Duration) { f.server.Always(hello, served) }},
	}
	for at := time.Duration(0); at <= length; at += lookEvery {
		events = append(events, load.Event{At: at, Do: see})
	}
	plan := load.Plan{Rate: backendsRate, Calls: int(length.Seconds() * backendsRate), Timeout: 2 * time.Second, Events: events}
	samples, err := plan.Run(ctx, f.say)
	if err != nil {
		return run, false, err
	}
	bad := load.Between(samples, from, to)
	if len(bad) == 0 {
		return run, false, errCut
	}
	begun, half, ended := seen(looks, from), seen(looks, (from+to)/2), seen(looks, to)
	took := load.Times(bad, load.Sample.Took, func(s load.Sample) bool { return s.Outcome == load.OK })
	calls := float64(len(bad))
	return backendsRun{
		success:  float64(load.Count(bad, load.OK)) / calls,
		refused:  float64(load.Count(bad, load.Refused)) / calls,
		attempts: float64(ended.all-begun.all) / calls,
		late:     share(half, ended),
		p99:      float64(load.Quantile(took, 0.99)) / 1e6,
		stop:     settled(looks, from, to, func(share float64) bool { return share < 0.5/float64(n) }),
		back:     settled(looks, to, length, func(share float64) bool { return share >= 0.5/float64(n) }),
		calls:    calls,
		lags:     lags(samples),
	}, good(samples, 0, from) >= goodput, nil
}

// seen returns the first look at a moment or after it, or the last of all.
func seen(looks []look, at time.Duration) look {
	for _, l := range looks {
		if l.at >= at {
			return l
		}
	}
	return looks[len(looks)-1]
}

// share is the bad server's part of the attempts between two looks.
func share(a, b look) float64 { return float64(b.bad-a.bad) / float64(max(1, b.all-a.all)) }

// settled returns how long after from the bad server's share of the attempts in
// a second is as it should be, and stays so until to.
func settled(looks []look, from, to time.Duration, fits func(share float64) bool) recovered {
	last := to - shareOver
	since, ok := last, false
	for _, l := range looks {
		switch {
		case l.at < from || l.at > last:
		case !fits(share(l, seen(looks, l.at+shareOver))):
			ok = false
		case !ok:
			since, ok = l.at, true
		}
	}
	if !ok {
		since = max(last, from)
	}
	return recovered{(since - from).Seconds(), ok}
}
