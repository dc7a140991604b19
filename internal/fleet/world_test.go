package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/astra-grpc/astra/internal/breaker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer is a log that a goroutine may write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// usual is a configuration: three failures in a row eject for a second, two
// successes bring back.
func usual() Config {
	return Config{MaxShare: 0.5, Breaker: breaker.Config{
		FailureRate: 1, SlowRate: 0.5, MinCalls: 1000, Window: 10 * time.Second, Consecutive: 3,
		OpenFor: time.Second, MaxOpenFor: 10 * time.Second, ProbeShare: 0.005, Probes: 2, ProbeTTL: time.Minute,
	}}
}

const target = "test:///x"

// world is a target's backends and a connection to them, in a time of their own.
type world struct {
	now time.Duration
	log buffer
	r   *Registry
	f   *Fleet
	m   *Member
	c   *Chooser
	all []*Backend // that are ready, by key
}

// newWorld returns one whose backends have the keys given, and are ready.
func newWorld(t *testing.T, cfg Config, keys ...string) *world {
	w := &world{now: time.Hour}
	logger := slog.New(slog.NewTextHandler(&w.log, nil))
	w.r = NewRegistry(time.Time{}, func() *slog.Logger { return logger }, cfg)
	t.Cleanup(w.r.Close)
	w.r.Clock = func() time.Duration { return w.now }
	w.r.Chance = rand.New(rand.NewPCG(1, 2))
	w.f = w.r.Fleet(target)
	w.m = w.f.Join()
	w.resolve(keys...)
	return w
}

func endpoints(keys ...string) (all []Endpoint) {
	for _, k := range keys {
		all = append(all, NewEndpoint([]string{k}))
	}
	return all
}

func (w *world) resolve(keys ...string) {
	w.m.Resolved(endpoints(keys...))
	w.ready(keys...)
}

func (w *world) ready(keys ...string) {
	w.all = w.m.Ready(keys)
	w.c = NewChooser(w.f, w.all, len(w.m.has))
}

// begin is an attempt of a call, the first if call is nil.
func (w *world) begin(call *Call, k Kind) (*Attempt, int) {
	k.First = call == nil
	a := NewAttempt(context.Background(), w.f, call, k)
	i := w.c.Choose(From(a, w.f))
	w.all[i].Meter.Enter()
	return a, i
}

func (w *world) end(a *Attempt, e End) Change {
	a.Backend().Meter.Leave()
	return a.End(w.now, e)
}

var (
	succeeds = End{Good: true, Done: true, Alive: true}
	fails    = End{Bad: true}
)

// at makes attempts until one goes to a backend, and returns that; the others
// succeed.
func (w *world) at(t *testing.T, i int, k Kind) *Attempt {
	t.Helper()
	for range 10000 {
		a, to := w.begin(nil, k)
		if to == i {
			return a
		}
		w.end(a, succeeds)
	}
	t.Fatalf("no attempt goes to %s", w.all[i].Name)
	return nil
}

// on ends an attempt on a backend so.
func (w *world) on(t *testing.T, i int, e End) Change {
	t.Helper()
	return w.end(w.at(t, i, Kind{Steady: true}), e)
}

// eject has a backend fail until it is out.
func (w *world) eject(t *testing.T, i int) {
	t.Helper()
	for range 3 {
		w.on(t, i, fails)
	}
	if w.all[i].closed() {
		t.Fatalf("%s is not ejected", w.all[i].Name)
	}
}

// spread makes first attempts, which succeed, and returns how many went where.
func (w *world) spread(n int) []int {
	got := make([]int, len(w.all))
	for range n {
		a, i := w.begin(nil, Kind{})
		got[i]++
		w.end(a, succeeds)
	}
	return got
}
