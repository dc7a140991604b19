package flakyserver

import (
	"container/list"
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// Capacity is what the server can do: Workers attempts at a time, each taking
// Service, the others waiting in one queue, first come first served. It holds
// for all methods together and for faults as well as answers; only attempts in
// an outage and [Step.AtOnce] take none of it. A step's After comes on top and keeps no worker.
type Capacity struct {
	Workers int         // at least 1
	Service ServiceTime // nil: none
	Queue   int         // attempts that may wait; negative: any number
	Seed    uint64      // of Service
	Full    Step        // met by those that find the queue full; zero: RESOURCE_EXHAUSTED

	// ServeExpired works on for clients that have gone, which is what makes
	// overload last. Otherwise their attempts leave queue and worker at once.
	ServeExpired bool
}

// ServiceTime draws how long a worker is busy with an attempt.
type ServiceTime func(*rand.Rand) time.Duration

// Fixed is always d.
func Fixed(d time.Duration) ServiceTime {
	return func(*rand.Rand) time.Duration { return d }
}

// Lognormal has the median given; sigma is the standard deviation of the
// logarithm: 0.5 puts the 95th percentile at 2.3 medians.
func Lognormal(median time.Duration, sigma float64) ServiceTime {
	return func(rng *rand.Rand) time.Duration {
		return time.Duration(float64(median) * math.Exp(sigma*rng.NormFloat64()))
	}
}

// Stragglers makes the given share of draws, in [0, 1], factor times as long.
func (t ServiceTime) Stragglers(share, factor float64) ServiceTime {
	return func(rng *rand.Rand) time.Duration {
		d := t(rng)
		if rng.Float64() < share {
			d = time.Duration(float64(d) * factor)
		}
		return d
	}
}

// work is what became of an attempt's work.
type work uint8

const (
	workDone work = iota
	workWasted
	workDropped
	workFull
)

// pool is the workers and the queue before them.
type pool struct {
	service      ServiceTime
	queue        int
	serveExpired bool
	full         Step

	mu      sync.Mutex
	rng     *rand.Rand
	free    int
	stalled bool
	waiting list.List // of chan struct{}, closed when a worker is theirs
}

func newPool(c Capacity) *pool {
	p := &pool{
		service:      c.Service,
		queue:        c.Queue,
		serveExpired: c.ServeExpired,
		full:         c.Full,
		rng:          rand.New(rand.NewPCG(c.Seed, 0)),
		free:         max(c.Workers, 1),
	}
	if p.service == nil {
		p.service = Fixed(0)
	}
	if p.full.end == endStatus && p.full.err == nil {
		p.full = Fail(codes.ResourceExhausted, "flakyserver: queue full")
	}
	return p
}

// work queues for a worker and keeps it for one service time.
func (p *pool) work(ctx context.Context, closed <-chan struct{}) work {
	gone := ctx.Done()
	if p.serveExpired {
		gone = nil
	}
	turn, full := p.enter()
	if full {
		return workFull
	}
	if turn != nil {
		select {
		case <-turn.Value.(chan struct{}):
		case <-gone:
			p.leave(turn)
			return workDropped
		}
	}
	defer p.release()
	timer := time.NewTimer(p.draw())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-gone:
		return workDropped
	case <-closed: // and so for those in the queue, one after the other
		return workDropped
	}
	if ctx.Err() != nil {
		return workWasted
	}
	return workDone
}

// Stall keeps all workers from new work until Unstall: what they have begun
// they end, the rest waits in the queue. Without a [Capacity] there are no
// workers, and it does nothing.
func (s *Server) Stall() {
	if s.pool != nil {
		s.pool.stall(true)
	}
}

// Unstall ends Stall: the workers take up the queue.
func (s *Server) Unstall() {
	if s.pool != nil {
		s.pool.stall(false)
	}
}

func (p *pool) stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = on
	for free := p.free; !on && free > 0; free-- {
		p.free--
		p.releaseLocked()
	}
}

// enter takes a free worker (nil) or a place in the queue.
func (p *pool) enter() (turn *list.Element, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free > 0 && !p.stalled {
		p.free--
		return nil, false
	}
	if p.queue >= 0 && p.waiting.Len() >= p.queue {
		return nil, true
	}
	return p.waiting.PushBack(make(chan struct{})), false
}

// leave gives up a place, or the worker if that has come meanwhile.
func (p *pool) leave(turn *list.Element) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-turn.Value.(chan struct{}):
		p.releaseLocked()
	default:
		p.waiting.Remove(turn)
	}
}

func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked()
}

func (p *pool) releaseLocked() {
	first := p.waiting.Front()
	if first == nil || p.stalled {
		p.free++
		return
	}
	p.waiting.Remove(first)
	close(first.Value.(chan struct{}))
}

func (p *pool) draw() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.service(p.rng)
}
