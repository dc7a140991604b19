package lab

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// Side is one of the two clients. All methods may be called from any goroutine.
type Side struct {
	Name string // "bare" or "astra"
	// Dir is a name for what the side creates in a server that both use.
	Dir string

	suite   *interceptors.Suite // nil: bare
	proxies []*Proxy            // written by Proxy, before the load

	mu       sync.Mutex
	records  []*Record
	openings map[observe.Endpoint]int
	refused  map[observe.Endpoint]int
}

func newSide(t testing.TB, name string) *Side {
	t.Helper()
	return &Side{Name: name, Dir: fmt.Sprintf("%s-%d", name, time.Now().UnixNano()), openings: map[observe.Endpoint]int{}, refused: map[observe.Endpoint]int{}}
}

// install gives the side a suite, as a user installs it: with the defaults. The
// observer is there to count.
func (s *Side) install(t testing.TB) {
	t.Helper()
	suite, err := interceptors.New(interceptors.WithObserver(s), interceptors.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	})
	s.suite = suite
}

// DialOptions returns what the side's client is dialed with besides what every
// client needs: nothing if it is bare, the suite's DialOptions if not.
func (s *Side) DialOptions() []grpc.DialOption {
	if s.suite == nil {
		return nil
	}
	return s.suite.DialOptions()
}

// Proxy returns a proxy of the side's own before a server, which the experiment's
// faults befall.
func (s *Side) Proxy(t testing.TB, server string) *Proxy {
	t.Helper()
	p := NewProxy(t, server)
	s.proxies = append(s.proxies, p)
	return p
}

// Observe implements observe.Observer.
func (s *Side) Observe(e observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: func(_ context.Context, v observe.Event) {
		switch {
		case v.Kind == observe.BreakerChange && v.To == observe.BreakerOpen:
			s.add(s.openings, e)
		case v.Kind == observe.CallEnd && v.Outcome == observe.RejectedBreaker:
			s.add(s.refused, e)
		}
	}}
}

func (s *Side) add(m map[observe.Endpoint]int, e observe.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m[e]++
}

// Record returns a record of a kind of call, which is made of requests to the
// methods through p.
func (s *Side) Record(call string, p *Proxy, methods ...string) *Record {
	r := &Record{call: call, proxies: []*Proxy{p}, methods: methods, errs: map[string]int{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, r)
	return r
}

// result returns what came of a record.
func (s *Side) result(r *Record) (res Result) {
	r.mu.Lock()
	res = Result{Delays: sorted(r.delays), Failed: r.failed, Duplicates: r.duplicates}
	r.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	own := func(of map[observe.Endpoint]int) (n int) {
		for e, times := range of {
			if slices.Contains(r.methods, e.Method()) && slices.ContainsFunc(r.proxies, func(p *Proxy) bool { return strings.HasSuffix(e.Target(), p.Addr) }) {
				n += times
			}
		}
		return n
	}
	res.Openings, res.Refused = own(s.openings), own(s.refused)
	for _, p := range r.proxies {
		for _, m := range r.methods {
			res.Attempts += p.Requests(m)
		}
	}
	return res
}

// Record is what callers see of one kind of call. All methods may be called from
// any goroutine.
type Record struct {
	call    string
	proxies []*Proxy
	methods []string
	repeats bool

	mu                 sync.Mutex
	delays             []time.Duration
	failed, duplicates int
	errs               map[string]int
}

// Repeats notes, at set-up, that the client itself sends requests again that may
// have been carried out. How often it has occasion to is up to chance.
func (r *Record) Repeats() *Record {
	r.repeats = true
	return r
}

// Through notes, at set-up, that requests go through another proxy as well.
func (r *Record) Through(p *Proxy) *Record {
	r.proxies = append(r.proxies, p)
	return r
}

// Do runs a call, and records how long it took or that it failed.
func (r *Record) Do(call func() error) error {
	start := time.Now()
	err := call()
	r.Add(time.Since(start), err)
	return err
}

// Add records a call that succeeded after d, or failed.
func (r *Record) Add(d time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.delays = append(r.delays, d)
		return
	}
	r.failed++
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Code().String() + ": " + s.Message()
	}
	if len(text) > 90 {
		text = text[:90]
	}
	r.errs[strings.ToValidUTF8(text, "?")]++
}

// Duplicate records that n calls were carried out more than once.
func (r *Record) Duplicate(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.duplicates += n
}

// errors returns the failures, each with its number, for the log.
func (r *Record) errors() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for text, n := range r.errs {
		fmt.Fprintf(&b, "\n\t%5d × %s", n, text)
	}
	return b.String()
}
