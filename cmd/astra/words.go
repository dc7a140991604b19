package main

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/jitter"
)

// step is an attempt of a call whose attempts all fail as late as they may, with
// the shortest and longest backoffs before it.
type step struct {
	from, to time.Duration // it starts between
	lasts    time.Duration // 0: as long as the caller waits
	never    bool          // it would start when the call is over
}

// jitterRange returns the least and the most that a backoff may be.
func jitterRange(b jitter.Backoff, n int) (least, most time.Duration) {
	var low, high time.Duration
	for i := 1; i <= n; i++ {
		low, high = b.Next(i, low, 0), b.Next(i, high, 0.999999)
	}
	return low.Round(time.Millisecond), high.Round(time.Millisecond)
}

func (x *explained) say(idempotent bool, p *engine.Policy) {
	x.attempts(p)
	x.repeats(idempotent)
	x.worst(p)
	x.load(p)
	x.breaker(p)
	x.limit(p)
}

func (x *explained) add(format string, args ...any) {
	x.Words = append(x.Words, fmt.Sprintf(format, args...))
}

// attempts works out when each starts.
func (x *explained) attempts(p *engine.Policy) {
	last := step{lasts: p.AttemptTimeout}
	x.steps = []step{last}
	n := p.Retry.MaxAttempts
	if p.Hedges() {
		n = p.Hedge.MaxAttempts
	}
	for i := 1; i < n; i++ {
		next := step{lasts: p.AttemptTimeout}
		if p.Hedges() {
			next.from = time.Duration(i) * p.HedgeDelay
			next.to = next.from
		} else {
			least, most := jitterRange(p.Retry.Backoff, i)
			next.from, next.to = last.from+p.AttemptTimeout+least, last.to+p.AttemptTimeout+most
		}
		next.never = p.Timeout > 0 && next.from >= p.Timeout
		x.steps = append(x.steps, next)
		last = next
	}
	for i, s := range x.steps {
		text := fmt.Sprintf("attempt %d starts at %v", i+1, s.from)
		switch {
		case s.never:
			text += ", which is never: the call is over"
		case s.to != s.from:
			text += fmt.Sprintf(" to %v", s.to)
		}
		x.Starts = append(x.Starts, text)
	}
	switch {
	case p.Hedges() && p.HedgeDelay == 0:
		x.add("A call is hedged: up to %d attempts run side by side, the next whenever those that run have taken the method's own p95, or one has failed with a code that is not fatal. The first good answer wins.", n)
	case p.Hedges():
		x.add("A call is hedged: up to %d attempts run side by side, one every %v, or as soon as one has failed with a code that is not fatal. The first good answer wins.", n, p.HedgeDelay)
	case n == 1:
		x.add("A call is one attempt: nothing is retried.")
	default:
		least, most := jitterRange(p.Retry.Backoff, 1)
		x.add("A call is up to %d attempts. One that ends with %v is followed by the next after a backoff: %v to %v at first, then growing, at most %v (jitter %v).",
			n, p.Retry.Codes, least, most, p.Retry.Backoff.Delay(1<<20), p.Retry.Backoff.Jitter)
	}
}

func (x *explained) repeats(idempotent bool) {
	r := x.policy.Retry
	if r.MaxAttempts <= 1 {
		return
	}
	text, _ := r.Repeat.MarshalText()
	switch string(text) {
	case "any":
		x.add("Requests that may have run are sent again, too: the method must be idempotent.")
	case "answered":
		x.add("Sent again is what never reached a server, and what a server itself refused; what may have run is not.")
	case "unsent":
		x.add("Sent again is only what never reached a server.")
	default:
		if idempotent {
			x.add("The method is declared idempotent, so requests that may have run are sent again, too.")
		} else {
			x.add("Sent again is what never reached a server, and what a server itself refused; were the method declared idempotent (-idempotent), also what may have run.")
		}
	}
}

func (x *explained) worst(p *engine.Policy) {
	last := x.steps[len(x.steps)-1]
	longest := last.to + last.lasts
	switch {
	case p.Timeout > 0 && (p.AttemptTimeout == 0 || longest > p.Timeout):
		x.Worst = p.Timeout.String()
		x.add("A call takes at most %v: its timeout ends it, or the caller's deadline, if that is earlier.", p.Timeout)
	case p.AttemptTimeout > 0 && !p.Hedges():
		x.Worst = longest.String()
		x.add("A call takes at most %v: each attempt ends after %v, and the backoffs are at their longest.", longest, p.AttemptTimeout)
	default:
		x.Worst = "none but the caller's deadline"
		x.add("Nothing but the caller's deadline ends an attempt that hangs: callers must have one.")
	}
	for i, s := range x.steps {
		if s.never {
			x.add("Attempt %d never starts if those before it take all of their time: it would be at %v.", i+1, s.from)
			break
		}
	}
}

func (x *explained) load(p *engine.Policy) {
	if len(x.steps) == 1 {
		x.add("The policy adds no load: one attempt a call.")
		return
	}
	if p.BudgetOff {
		x.add("There is no budget: when everything fails, the load is up to %d times the calls.", len(x.steps))
		return
	}
	x.add("Further attempts are at most %.3g %% of the successful calls, %v a second besides, and %v in a row: when everything fails, the load soon falls to one attempt a call.",
		100*p.Budget.Ratio, p.Budget.MinPerSecond, p.Budget.Burst)
}

func (x *explained) breaker(p *engine.Policy) {
	if p.BreakerOff {
		x.add("There is no breaker: a dead server gets all calls.")
		return
	}
	b := p.Breaker
	x.add("The breaker opens after %d failed calls in a row, or when %.3g %% of at least %d calls in %v have failed. A call counts once, however many attempts it made.",
		b.Consecutive, 100*b.FailureRate, b.MinCalls, b.Window)
	x.add("It refuses calls for %v at first (±20 %%), twice as long after each probe that fails, up to %v; then %s. One more probe goes for each %.0f calls refused.",
		b.OpenFor, b.MaxOpenFor, probes(b.Probes), 1/b.ProbeShare)
	if p.SlowCall > 0 {
		x.add("Calls of %v or more are slow: it opens also when %.3g %% of them are.", p.SlowCall, 100*b.SlowRate)
	}
}

func probes(n int) string {
	if n == 1 {
		return "one call probes, and closes it if it succeeds"
	}
	return fmt.Sprintf("%d calls probe, and close it if they succeed", n)
}

func (x *explained) limit(p *engine.Policy) {
	l := p.Limit
	if l.MaxConcurrent > 0 {
		kind := "At most"
		if l.Adaptive {
			kind = "An adaptive number, at most"
		}
		x.add("%s %d calls are in flight; %d more wait%s.", kind, l.MaxConcurrent, l.MaxQueue, patience(l.MaxWait))
	}
	if l.Rate > 0 {
		x.add("At most %v calls start in a second, %d at once.", l.Rate, l.Burst)
	}
}

func patience(d time.Duration) string {
	if d == 0 {
		return " as long as they have time"
	}
	return fmt.Sprintf(", %v each", d)
}
