// Package spiffe holds the rows of go-spiffe's Workload API client, which reads a
// message of a stream and cancels it, or watches one for ever.
package spiffe

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/workloadapi"

	"github.com/astra-grpc/astra/integration/lab"
)

const (
	client  = "go-spiffe"
	service = "/SpiffeWorkloadAPI/"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, client)) }

func TestFailures(t *testing.T) {
	compare(t, "one stream in twenty ends UNAVAILABLE", 6*time.Second, 20, func(testing.TB, *lab.Experiment) {})
}

func TestCut(t *testing.T) {
	compare(t, "connection cut every 2 s", 10*time.Second, 0, func(_ testing.TB, x *lab.Experiment) {
		x.Cut(2*time.Second, 200*time.Millisecond)
	})
}

func TestRefuse(t *testing.T) {
	compare(t, "connections refused for .7 s of every 4 s", 10*time.Second, 0, func(t testing.TB, x *lab.Experiment) {
		x.Refuse(t, 4*time.Second, 700*time.Millisecond)
	})
}

// compare fetches and watches under a fault. One fetch in failing ends UNAVAILABLE.
func compare(t *testing.T, fault string, d time.Duration, failing uint64, begin func(testing.TB, *lab.Experiment)) {
	t.Helper()
	t.Parallel()
	lab.Compare(t, client, fault, d, func(t testing.TB, x *lab.Experiment) func() {
		sides := lab.Both(x, func(s *lab.Side) *side { return newSide(t, s, failing) })
		begin(t, x)
		x.Load(25, func(s *lab.Side, _ int) { sides[s].fetch() })
		x.Every(100*time.Millisecond, func(int) { x.Each(func(s *lab.Side) { sides[s].agent.rotate(t) }) })
		return func() {
			lab.Await(3*time.Second, func() bool { return sides[x.Bare].current() && sides[x.Astra].current() })
			x.Each(func(s *lab.Side) { sides[s].finish() })
		}
	})
}

// side is a client of one side, and its agent.
type side struct {
	agent            *agent
	client           *workloadapi.Client
	fetches, updates *lab.Record
	stop             context.CancelFunc
	done             sync.WaitGroup
	seen             atomic.Int64 // the newest version that the watch delivered
}

func newSide(t testing.TB, s *lab.Side, failing uint64) *side {
	t.Helper()
	own := &side{agent: newAgent(t, failing)}
	p := s.Proxy(t, own.agent.serve(t))
	own.fetches = s.Record("FetchX509SVID: read one message, cancel", p, service+"FetchX509SVID")
	own.updates = s.Record("WatchX509Bundles: new bundles", p, service+"FetchX509Bundles")
	c, err := workloadapi.New(t.Context(), workloadapi.WithAddr("tcp://"+p.Addr), workloadapi.WithDialOptions(s.DialOptions()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	own.client = c
	ctx, stop := context.WithCancel(context.Background())
	own.stop = stop
	own.done.Go(func() { _ = c.WatchX509Bundles(ctx, own) }) // ends when it is stopped
	return own
}

func (s *side) fetch() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_ = s.fetches.Do(func() error {
		_, err := s.client.FetchX509SVID(ctx)
		return err
	})
}

// OnX509BundlesUpdate records how long after their creation the bundles came. One
// that was overtaken by the next counts as come with it.
func (s *side) OnX509BundlesUpdate(set *x509bundle.Set) {
	version := set.Bundles()[0].X509Authorities()[0].SerialNumber.Int64()
	now := time.Now()
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	for v := s.seen.Load() + 1; v <= version; v++ {
		s.updates.Add(now.Sub(s.agent.created[v]), nil)
	}
	s.seen.Store(max(version, s.seen.Load()))
}

// OnX509BundlesWatchError is called before the client tries again.
func (s *side) OnX509BundlesWatchError(error) {}

func (s *side) current() bool {
	s.agent.mu.Lock()
	defer s.agent.mu.Unlock()
	return s.seen.Load() == s.agent.version
}

func (s *side) finish() {
	s.stop()
	s.done.Wait()
	for v := s.seen.Load() + 1; v <= s.agent.version; v++ {
		s.updates.Add(0, errors.New("never came"))
	}
}
