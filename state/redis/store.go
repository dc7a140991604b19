package astraredis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// New returns a store that shares open breakers with the other instances of a
// namespace. Give it to one suite, by [interceptors.WithStore]. It does not wait
// for Redis. The error joins every fault of the options.
func New(client redis.UniversalClient, opts ...Option) (interceptors.Store, error) {
	set := settings{instance: rand.Text(), namespace: "default"}
	for _, o := range opts {
		if o == nil {
			set.fault("a nil Option")
			continue
		}
		o(&set)
	}
	if client == nil {
		set.fault("a nil client")
	}
	if err := set.err(); err != nil {
		return nil, err
	}
	return newStore(client, set), nil
}

func newStore(client redis.UniversalClient, set settings) *store {
	s := &store{
		client: client, instance: set.instance, quorum: set.quorum,
		set: "astra:{" + set.namespace + "}:open", channel: "astra:{" + set.namespace + "}:news",
		incarnation: rand.Text()[:16],
		pingEvery:   3 * time.Second,
		wake:        make(chan struct{}, 1), stop: make(chan struct{}),
		own: map[key]opening{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// store shares a suite's open breakers. Two goroutines of it talk to Redis: one
// reports, one listens.
type store struct {
	client       redis.UniversalClient
	instance     string
	quorum       int // 0: advisory
	set, channel string
	incarnation  string // begins the names of this process' openings
	pingEvery    time.Duration

	live interceptors.StoreHandle
	wake chan struct{} // there is something to report
	stop chan struct{} // report what there is, and end
	ctx  context.Context
	// cancel ends the listener.
	cancel  context.CancelFunc
	running sync.WaitGroup

	others peerReports // the listener's

	mu       sync.Mutex // guards what follows
	attached bool
	closed   bool
	away     bool            // Redis is, and that has been warned of
	own      map[key]opening // breakers that this instance has opened
	openings uint64

	ending sync.Once
	err    error // of Close
}

// opening is what is to be reported, or was.
type opening struct {
	report
	until time.Time
	quiet time.Time // until which it is not reported again
	sent  bool
}

// maxOwn bounds what is to be reported; a suite keeps no more breakers.
const maxOwn = 4096

// Attach implements [interceptors.Store].
func (s *store) Attach(l interceptors.StoreHandle) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errors.New("astraredis: store is closed: open a new one for each suite")
	case s.attached:
		return errors.New("astraredis: store is attached to another suite: open one for each suite")
	}
	s.attached, s.live = true, l
	s.running.Go(s.send)
	s.running.Go(s.listen)
	return nil
}

// Changed implements [interceptors.Store].
func (s *store) Changed(c interceptors.Change) {
	if c.Remote || c.ByHand || c.To != observe.BreakerOpen {
		return
	}
	k := key{c.Target, c.Method}
	s.mu.Lock()
	if old, known := s.own[k]; known || len(s.own) < maxOwn {
		s.openings++
		s.own[k] = opening{
			report: report{version, s.instance, s.incarnation + "-" + strconv.FormatUint(s.openings, 10), c.Target, c.Method, max(1, c.Openings)},
			until:  time.Now().Add(c.Left), quiet: old.quiet,
		}
	}
	s.mu.Unlock()
	s.wakeUp()
}

func (s *store) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it will see this one too
	}
}

const (
	flushFor = time.Second     // how long Close tries to report what is not yet
	closeFor = 5 * time.Second // how long Close waits for a Redis that does not answer
)

// Close implements [interceptors.Store]. It reports what is not yet, if Redis
// is there. Reports that hold stay until they expire.
func (s *store) Close() error {
	s.ending.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.stop)
		s.cancel()
		done := make(chan struct{})
		go func() {
			s.running.Wait()
			close(done)
		}()
		limit := time.NewTimer(closeFor)
		defer limit.Stop()
		select {
		case <-done:
		case <-limit.C:
			s.err = fmt.Errorf("astraredis: Redis did not answer within %v", closeFor)
		}
	})
	return s.err
}

// notify reports to the suite's observers.
func (s *store) notify(result observe.SuiteResult, err error) {
	s.live.Notify(observe.SuiteEvent{Kind: observe.StateShared, Result: result, Err: err})
}

// reached logs when Redis goes away, and when it is back.
func (s *store) reached(err error) {
	s.mu.Lock()
	was := s.away
	s.away = err != nil
	s.mu.Unlock()
	switch log := s.live.Logger(); {
	case err != nil && !was:
		log.Warn("astra: Redis is unreachable: breakers use local state only", "err", err)
	case err == nil && was:
		log.Info("astra: Redis is reachable again: breakers are shared")
	}
}
