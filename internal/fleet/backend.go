package fleet

import (
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/backend"
	"github.com/astra-grpc/astra/internal/breaker"
)

// Backend is one endpoint of a target.
type Backend struct {
	Name  string
	key   string
	fleet *Fleet
	guard *breaker.Guard
	Meter backend.Meter

	ready  atomic.Int32 // connections to it that are
	last   atomic.Int32 // what was last heard of it
	losses atomic.Uint64
	gone   atomic.Bool

	skipped atomic.Int64 // attempts that went elsewhere since it was last asked whether it wants a probe
	asked   atomic.Int64 // when that was
	probes  atomic.Int32 // under way
	probed  atomic.Int64 // when the last began

	picked     atomic.Int64  // when it was last chosen …
	pickedTurn atomic.Uint64 // … and by which of the choices by cost
	looks      atomic.Int32  // how often since then only because it had been left out, as it is slow

	counts    [3]atomic.Uint64 // of attempts, by Outcome
	ejections [breaker.ByHand + 1]atomic.Uint64
	avoidable atomic.Uint64 // attempts that its ejection would have kept away, if that only observes

	countedOut, countedHeld bool // in the fleet's counts; guarded by fleet.mu
}

// What can last have been heard of a backend.
const (
	nothing int32 = iota
	good
	bad
)

// Outcome is how an attempt ended, for its backend.
type Outcome uint8

// How it can end.
const (
	Success Outcome = iota // it answered
	Failure                // it does not serve
	Other                  // neither: the caller or this client ended it
)

// Outcomes are all of them.
var Outcomes = [...]Outcome{Success, Failure, Other}

// String returns the outcome as it is written in metric labels.
func (o Outcome) String() string { return [...]string{"success", "failure", "other"}[o] }

func newBackend(f *Fleet, e Endpoint, now time.Duration) *Backend {
	b := &Backend{Name: e.Name, key: e.Key, fleet: f, guard: breaker.NewGuard(f.registry.Config().Breaker)}
	b.Meter.Restart(now)
	return b
}

// forgetLocked is for a backend that no resolver names any more. Attempts on it may
// still end. If it is drained, it is so again should it be named in that time.
func (b *Backend) forgetLocked(now time.Duration) {
	if st := b.guard.Standing(now); st.Forced == breaker.ForcedOpen {
		b.fleet.registry.AddPending([]Record{{Target: b.fleet.Target, Backend: b.key, Left: st.Release - now, Openings: 1, Drained: true}})
	}
	b.gone.Store(true)
	b.fleet.recountLocked(b, now)
}

// closed reports whether the backend is neither ejected nor drained.
func (b *Backend) closed() bool {
	_, in := b.guard.AdmitClosed()
	return in
}

// Ready reports whether some connection to it is.
func (b *Backend) Ready() bool { return b.ready.Load() > 0 }

// State returns where its breaker stands: closed is in, open is out.
func (b *Backend) State(now time.Duration) breaker.State {
	if b.closed() || b.fleet.registry.Config().EjectOff && !b.drained(now) {
		return breaker.Closed
	}
	return b.guard.At(now)
}

// Avoidable returns how many attempts would have gone elsewhere, did its ejection
// not only observe.
func (b *Backend) Avoidable() uint64 { return b.avoidable.Load() }

// Count returns how many attempts have ended so.
func (b *Backend) Count(o Outcome) uint64 { return b.counts[o].Load() }

// Lasts returns how long what a change has begun will last, or what it has ended
// has lasted: see [breaker.Guard.Lasts].
func (b *Backend) Lasts(now time.Duration, t breaker.Transition) time.Duration {
	return b.guard.Lasts(now, t)
}

// Ejections calls yield for each reason for which the backend has been ejected.
func (b *Backend) Ejections(yield func(reason breaker.Reason, n uint64)) {
	for r := range b.ejections {
		if n := b.ejections[r].Load(); n > 0 {
			yield(breaker.Reason(r), n)
		}
	}
}

// in reports whether the backend is to have its share of the attempts: it is
// neither drained nor ejected, or ejections keep none away.
func (b *Backend) in() bool {
	if b.closed() {
		return true
	}
	r := b.fleet.registry
	return !r.Config().steers() && !b.drained(r.Now())
}

// well reports whether it is there, in, and believed so.
func (b *Backend) well() bool {
	return b.ready.Load() > 0 && !b.gone.Load() && b.in() && b.fleet.certain()
}

// out reports whether it is ejected, and believed out, or drained.
func (b *Backend) out() bool { return !b.in() && b.Believed() }

// drained reports whether somebody keeps attempts away from it.
func (b *Backend) drained(now time.Duration) bool {
	return !b.closed() && b.guard.Forced(now) == breaker.ForcedOpen
}

// Believed reports whether the backend, if it is ejected or drained, is believed
// out; see [Fleet.Believed]. One that is drained is, unless no other is in.
func (b *Backend) Believed() bool {
	if b.drained(b.fleet.registry.Now()) {
		return b.fleet.anyIn()
	}
	return b.fleet.Believed()
}

const (
	// patience is how long a probe keeps others from being made at the same
	// time: for backends that fail, one is enough to see it.
	patience = time.Second
	// askEvery bounds how often a busy client asks for a probe.
	askEvery = time.Millisecond
)

// probe asks an ejected backend whether it is to be tried. steady says that a
// call may be made again if it fails there.
func (b *Backend) probe(now time.Duration, steady bool) (t breaker.Token, ok bool) {
	b.skipped.Add(1)
	asked := b.asked.Load()
	if now-time.Duration(asked) < askEvery && asked != 0 ||
		b.probes.Load() > 0 && now-time.Duration(b.probed.Load()) < patience ||
		!b.asked.CompareAndSwap(asked, int64(now)) {
		return t, false
	}
	if !steady && now-time.Duration(b.fleet.steady.Load()) < patience {
		return t, false // there are calls that would not mind
	}
	b.guard.Skipped(int(b.skipped.Swap(0)) - 1)
	t, change, _, ok := b.guard.Admit(now)
	if change.Happened() {
		b.fleet.recount(b, now)
	}
	if ok && t.Probe() {
		b.probes.Add(1)
		b.probed.Store(int64(now))
	}
	return t, ok
}

// settle books how an attempt ended.
func (b *Backend) settle(now time.Duration, t breaker.Token, o breaker.Outcome, shard uint32) breaker.Transition {
	if b.gone.Load() || b.fleet.registry.Config().EjectOff {
		return breaker.Transition{}
	}
	var change breaker.Transition
	if o == breaker.Success {
		change = b.guard.Succeed(now, t, shard)
	} else {
		change = b.guard.Settle(now, t, o, b.fleet.registry.chance())
	}
	if !change.Happened() {
		return change
	}
	switch {
	case change.To == breaker.Open:
		b.ejections[change.Reason].Add(1)
	case change.To == breaker.Closed && b.fleet.registry.Config().steers(): // else it has had its share all the time
		b.Meter.Restart(now)
	}
	b.fleet.recount(b, now)
	return change
}
