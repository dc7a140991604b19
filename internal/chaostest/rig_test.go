//go:build unix

package chaostest

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// rig is servers, and callers who reach each through a proxy of their own, so that
// none is served by what another keeps open.
type rig struct {
	t         *testing.T
	rng       *rand.Rand
	dir       string // of journals
	servers   []*process
	callers   []*caller
	resolvers []*manual.Resolver // a caller's

	mayFailToClose bool // stores have nowhere to save
}

const (
	deadline = 400 * time.Millisecond
	every    = 5 * time.Millisecond
	// promised is how late a call may end, on a machine that is never late itself.
	promised = 50 * time.Millisecond
	// tooBusy is a machine on which calls fail by themselves, in bunches that have
	// nothing to do with who makes them: then success is not compared.
	tooBusy = deadline / 8
)

// asked repeats all it can.
var asked = interceptors.Policy{
	Retry: interceptors.Retry{MaxAttempts: 4, Backoff: jitter.Backoff{Base: 20 * time.Millisecond}},
	Limit: interceptors.Limit{MaxConcurrent: 10_000, MaxQueue: 10_000},
}

// hurried gives up attempts that bare gRPC would wait for. What that costs is its
// own choice: it is not to be as well off.
var hurried = interceptors.Policy{
	Retry:          asked.Retry,
	AttemptTimeout: 150 * time.Millisecond,
	Limit:          interceptors.Limit{MaxConcurrent: 50, MaxQueue: 1000, MaxWait: 100 * time.Millisecond},
}

// hedged starts a second attempt of what is slow. On a machine or a line that is
// full that is what makes calls late: it is not to be as well off.
var hedged = interceptors.Policy{
	Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 50 * time.Millisecond, NonFatal: astracodes.Retryable},
}

// quiet keeps warnings, of breakers and retries beneath, out of the tests' output.
var quiet = slog.New(slog.DiscardHandler)

func newRig(t *testing.T, rng *rand.Rand, s scene) *rig {
	t.Helper()
	r := &rig{t: t, rng: rng, dir: t.TempDir()}
	servers := max(s.servers, 1)
	for i := range servers {
		r.servers = append(r.servers, startServer(t, settings{Addr: "127.0.0.1:0", Journal: filepath.Join(r.dir, fmt.Sprintf("journal-%d", i))}))
	}
	r.add(s, &caller{name: "bare"})
	r.add(s, &caller{name: "default"}, interceptors.WithPolicy(interceptors.Policy{}))
	r.add(s, &caller{name: "asked", repeats: true}, interceptors.WithPolicy(asked))
	r.add(s, &caller{name: "hedged", repeats: true, worse: true}, interceptors.WithMethodPolicy(unary, hedged), interceptors.WithMethodPolicy(list, hedged))
	r.add(s, &caller{name: "hurried", repeats: true, worse: true}, interceptors.WithPolicy(hurried))
	return r
}

// add adds a caller, without a suite if there are no options.
func (r *rig) add(s scene, c *caller, opts ...interceptors.Option) {
	r.t.Helper()
	c.number = uint64(len(r.callers) + 1)
	var addresses []resolver.Address
	for _, s := range r.servers {
		p, err := StartProxy(s.Addr)
		if err != nil {
			r.t.Fatal(err)
		}
		c.proxies = append(c.proxies, p)
		addresses = append(addresses, resolver.Address{Addr: p.Addr()})
	}
	m := manual.NewBuilderWithScheme("chaostest")
	m.InitialState(resolver.State{Addresses: addresses})
	r.resolvers = append(r.resolvers, m)
	dial := []grpc.DialOption{
		grpc.WithResolvers(m),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// In a tenth of the usual times, as are faults: seconds would be waited for in vain.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond}, MinConnectTimeout: time.Second}),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
	}
	if len(opts) > 0 {
		opts = append(opts, s.options(r.t)...)
		suite, err := interceptors.New(append(opts, interceptors.WithObserver(&c.seen), interceptors.WithLogger(quiet))...)
		if err != nil {
			r.t.Fatal(err)
		}
		c.suite = suite
		dial = append(dial, suite.DialOptions()...)
	}
	dial = append(dial, grpc.WithChainUnaryInterceptor(countUnary), grpc.WithChainStreamInterceptor(countStream))
	conn, err := grpc.NewClient("chaostest:///servers", dial...)
	if err != nil {
		r.t.Fatal(err)
	}
	c.conn = conn
	r.callers = append(r.callers, c)
}

// set puts a fault before some of the servers, for all callers; none: before all.
func (r *rig) set(f Fault, servers ...int) {
	for _, c := range r.callers {
		for i, p := range c.proxies {
			if len(servers) == 0 || contains(servers, i) {
				p.Set(f)
			}
		}
	}
}

func contains(all []int, one int) bool {
	for _, each := range all {
		if each == one {
			return true
		}
	}
	return false
}

// cut resets all connections.
func (r *rig) cut() {
	for _, c := range r.callers {
		for _, p := range c.proxies {
			p.Cut()
		}
	}
}

// restart begins a server anew.
func (r *rig) restart(i int, change func(*settings)) { r.servers[i] = r.servers[i].restart(change) }

// pass lets time pass while calls are made.
func pass(d time.Duration) { <-time.After(d) }

// close ends connections, suites, proxies.
func (r *rig) close() {
	for _, c := range r.callers {
		if err := c.conn.Close(); err != nil {
			r.t.Error(err)
		}
		if c.suite != nil {
			if err := c.suite.Close(); err != nil && !r.mayFailToClose {
				r.t.Error(err)
			}
		}
		for _, p := range c.proxies {
			p.Close()
		}
	}
	for _, s := range r.servers {
		s.kill()
	}
}

// play has calls made while a scene is played, and sees to the books.
func play(t *testing.T, rng *rand.Rand, s scene, span time.Duration) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), descriptors()
	r := newRig(t, rng, s)
	calls := startLoad(r.callers, rand.New(rand.NewPCG(rng.Uint64(), 0)), every, deadline)
	pass(span / 4) // all is well
	s.play(r, span)
	r.set(Fault{})
	pass(span / 2) // all is well again
	calls.end()
	r.close()
	settled(t, "goroutines", runtime.NumGoroutine, goroutines)
	settled(t, "descriptors", descriptors, files)

	executions := ran(t, r.dir)
	lag := time.Duration(calls.lag.Load())
	bare := r.callers[0].audit(t, executions, time.Hour)
	// Late is who is later than promised, than this process was by itself, and than
	// bare gRPC was: the machine may be busy with other things.
	slack := promised + 2*max(lag, bare.late)
	if lag >= tooBusy { // how late one goroutine was says less of thousands
		slack = promised + 4*max(lag, bare.late)
	}
	t.Logf("bare: %v; this process woke %v late at worst, so %v count as in time", bare, lag.Round(time.Millisecond), slack.Round(time.Millisecond))
	for _, c := range r.callers[1:] {
		y := c.audit(t, executions, slack)
		p := compare(c, r.callers[0], breakerLag(span))
		t.Logf("%s: %v; against bare %d better, %d worse, %d of these refused by a breaker in its time", c.name, y, p.better, p.worse, p.refused)
		if !s.unequal && !c.worse && lag < tooBusy && !raceEnabled {
			noHarm(t, c.name, p, y.calls)
		}
	}
}
