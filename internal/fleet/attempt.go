package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// Call is where the attempts of a call have been.
type Call struct {
	mu    sync.Mutex // guards what follows, and the attempts
	tried [maxTried]*Backend
	n     int
	among *Chooser // which chose last
}

// maxTried is how many backends a call remembers.
const maxTried = 4

// Tried reports whether the call has been to a backend.
func (c *Call) Tried(b *Backend) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.triedLocked(b)
}

func (c *Call) triedLocked(b *Backend) bool {
	for _, t := range c.tried[:min(c.n, maxTried)] {
		if t == b {
			return true
		}
	}
	return false
}

// Attempt is the context of an attempt. Between its policy, which chooses a
// backend for it, and its call's engine, which says how it ended, it is settled
// once.
type Attempt struct {
	context.Context
	fleet  *Fleet
	call   *Call
	own    Call // the first attempt's is the call's
	first  bool
	steady bool // the call may be made again
	stream bool

	// Guarded by call.mu:
	backend *Backend
	token   breaker.Token
	losses  uint64
	began   time.Duration
	moved   bool // the call had been elsewhere, and not here
	heard   bool // it is a stream that was answered, which has been counted
	ended   bool
}

// Kind is what a policy may need to know of an attempt.
type Kind struct {
	First  bool // of its call
	Steady bool // the call may be made again if this one fails
	Stream bool
}

// NewAttempt returns the context of an attempt on a target. call is nil for a
// call's first; [Attempt.Call] is what its others are given.
func NewAttempt(ctx context.Context, f *Fleet, call *Call, k Kind) *Attempt {
	a := &Attempt{Context: ctx, fleet: f, call: call, first: k.First, steady: k.Steady, stream: k.Stream}
	if call == nil {
		a.call = &a.own
	}
	return a
}

type key struct{}

// Value implements context.Context.
func (a *Attempt) Value(k any) any {
	if _, ours := k.(key); ours {
		return a
	}
	return a.Context.Value(k)
}

// From returns the attempt that a context is of; nil: of none on that fleet.
func From(ctx context.Context, f *Fleet) *Attempt {
	a, _ := ctx.Value(key{}).(*Attempt)
	if a == nil || a.fleet != f {
		return nil
	}
	return a
}

// Call returns where the call has been.
func (a *Attempt) Call() *Call { return a.call }

// Fresh reports whether the call has been nowhere yet.
func (a *Attempt) Fresh() bool {
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	return a.call.n == 0
}

// Backend returns where the attempt went, nil: nowhere yet.
func (a *Attempt) Backend() *Backend {
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	return a.backend
}

// Name returns the address of the backend that the attempt went to; "": it got
// none.
func (a *Attempt) Name() string {
	if a == nil {
		return ""
	}
	if b := a.Backend(); b != nil {
		return b.Name
	}
	return ""
}

// chosen notes where the attempt goes. grpc-go may choose again, if a connection
// was lost meanwhile or the server has not touched the request.
func (a *Attempt) chosen(now time.Duration, among *Chooser, b *Backend, t breaker.Token) {
	c := a.call
	c.mu.Lock()
	defer c.mu.Unlock()
	c.among = among
	if a.ended {
		a.giveBack(now, b, t)
		return
	}
	if a.backend != nil {
		a.giveBack(now, a.backend, a.token)
		a.leave(a.backend)
	}
	a.backend, a.token, a.losses, a.began = b, t, b.losses.Load(), now
	if !c.triedLocked(b) {
		a.moved = c.n > 0
		c.tried[c.n%maxTried] = b
		c.n++
	}
	if !a.stream {
		b.Meter.Ask(now)
	}
}

// leave is for a backend that the attempt waits for no longer.
func (a *Attempt) leave(b *Backend) {
	if !a.stream {
		b.Meter.Over()
	}
}

// giveBack settles a token that has nothing to say.
func (a *Attempt) giveBack(now time.Duration, b *Backend, t breaker.Token) {
	if t.Probe() {
		b.probes.Add(-1)
		b.settle(now, t, breaker.Neutral, 0)
	}
}

// Moved reports whether the attempt went to a backend that its call, having been
// to another, had not been to.
func (a *Attempt) Moved() bool {
	if a == nil {
		return false
	}
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	return a.moved
}
