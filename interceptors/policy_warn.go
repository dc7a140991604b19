package interceptors

import (
	"fmt"
	"time"
)

// Warnings returns what a valid policy asks for in vain: combinations that no
// rule forbids, and that cannot do what their fields say. Each is a sentence,
// under the field that is best changed. The default policy has none; New and
// Reload do not log them.
//
//   - An attempt that would begin after Timeout, if those before it take their
//     AttemptTimeout and the backoffs their length without jitter; of hedges,
//     one that is due then.
//   - A Hedge.Delay that an attempt does not outlive.
//   - A Breaker.SlowCall that no attempt lives to see, and a Breaker.Window of
//     less than twice either SlowCall or AttemptTimeout.
//   - A Breaker.OpenFor that is over before the first backoff.
//   - A probe that may take longer than its place is kept.
//   - A Budget.Burst that does not pay for one call's retries.
//   - A Limit.MaxWait that uses up Timeout; none, where calls may queue.
//   - A backoff for a code, or a schedule, where nothing is retried.
func (p Policy) Warnings() []Fault {
	var w warnings
	full := p.withDefaults()
	if p.Hedge.on() {
		w.hedges(full)
	} else {
		w.retries(full)
	}
	w.breaker(full)
	w.limit(full)
	return w
}

type warnings []Fault

func (w *warnings) add(field, format string, args ...any) {
	*w = append(*w, Fault{Field: field, Problem: fmt.Sprintf(format, args...)})
}

func (w *warnings) retries(p Policy) {
	r := p.Retry
	if r.MaxAttempts == 1 {
		if len(r.PerCode) > 0 {
			w.add("Retry.PerCode", "has no effect: MaxAttempts is 1, so nothing is retried")
		}
		return
	}
	if p.Timeout > 0 {
		for n := 2; n <= r.MaxAttempts; n++ {
			if begins := p.begins(n); begins >= p.Timeout {
				w.add("Retry.MaxAttempts", "attempt %d of %d would begin %v into the call%s, which ends at its Timeout, %v",
					n, r.MaxAttempts, begins, p.lengths(), p.Timeout)
				break
			}
		}
	}
	w.burst(p.Budget, "retries", r.MaxAttempts-1)
}

// begins is when attempt n begins at the latest, chance aside.
func (p Policy) begins(n int) (at time.Duration) {
	for i := 1; i < n; i++ {
		at = sum(at, sum(p.AttemptTimeout, p.Retry.Backoff.Delay(i)))
	}
	return at
}

// sum stops at the longest time, where a + b would turn negative.
func sum(a, b time.Duration) time.Duration {
	if s := a + b; s >= a {
		return s
	}
	return 1<<63 - 1
}

func (p Policy) lengths() string {
	if p.AttemptTimeout == 0 {
		return ", for the backoffs alone"
	}
	return fmt.Sprintf(", if each before it takes its AttemptTimeout, %v", p.AttemptTimeout)
}

func (w *warnings) hedges(p Policy) {
	h := p.Hedge
	switch last := h.Delay * time.Duration(h.MaxAttempts-1); {
	case h.Delay == 0: // the method's own p95
	case p.AttemptTimeout > 0 && h.Delay >= p.AttemptTimeout:
		w.add("Hedge.Delay", "%v is not shorter than AttemptTimeout, %v: no hedge starts beside an attempt that is slow", h.Delay, p.AttemptTimeout)
	case p.Timeout > 0 && h.Delay >= p.Timeout:
		w.add("Hedge.Delay", "%v is not shorter than Timeout, %v: no hedge starts beside an attempt that is slow", h.Delay, p.Timeout)
	case p.Timeout > 0 && (last >= p.Timeout || last/h.Delay != time.Duration(h.MaxAttempts-1)):
		w.add("Hedge.MaxAttempts", "%d at intervals of Delay, %v, are more than can start within Timeout, %v", h.MaxAttempts, h.Delay, p.Timeout)
	}
	w.burst(p.Budget, "hedges", h.MaxAttempts-1)
}

func (w *warnings) burst(b Budget, what string, most int) {
	if !b.Disabled && b.Burst < float64(most) {
		w.add("Budget.Burst", "%v does not pay for the %d %s that one call may make", b.Burst, most, what)
	}
}

func (w *warnings) breaker(p Policy) {
	b := p.Breaker
	if b.Disabled {
		return
	}
	life, named := p.AttemptTimeout, "AttemptTimeout"
	if life == 0 {
		life, named = p.Timeout, "Timeout"
	}
	if life > 0 && b.SlowCall > life {
		w.add("Breaker.SlowCall", "%v is longer than %s, %v: no call is slow", b.SlowCall, named, life)
	}
	switch {
	case b.Window/2 < b.SlowCall:
		w.add("Breaker.Window", "%v is less than twice SlowCall, %v: slow calls seldom meet in it", b.Window, b.SlowCall)
	case b.Window/2 < p.AttemptTimeout:
		w.add("Breaker.Window", "%v is less than twice AttemptTimeout, %v: attempts that time out seldom meet in it", b.Window, p.AttemptTimeout)
	}
	if p.Hedge.on() {
		return
	}
	if first := p.Retry.Backoff.Delay(1); p.Retry.MaxAttempts > 1 && b.OpenFor < first {
		w.add("Breaker.OpenFor", "%v is over before the first backoff, %v: the breaker gives the server less rest than one retry does", b.OpenFor, first)
	}
	if longest := sum(p.begins(p.Retry.MaxAttempts), p.AttemptTimeout); p.Timeout == 0 && p.AttemptTimeout > 0 && longest > minProbeTTL {
		w.add("Timeout", "none: a call can last %v, but a probe's place is given away after %v, or after Timeout if that is longer", longest, minProbeTTL)
	}
}

func (w *warnings) limit(p Policy) {
	l := p.Limit
	switch {
	case l.MaxQueue == 0 || l.MaxWait > 0:
	case l.Adaptive:
		w.add("Limit.MaxWait", "none: when an adaptive limit shrinks, calls wait in its queue until they have no time left, and it cannot recover")
	default:
		w.add("Limit.MaxWait", "none: when more calls come than the limit lets through, each waits in its queue until it has no time left, and hardly one succeeds")
	}
	if p.Timeout > 0 && l.MaxWait >= p.Timeout {
		w.add("Limit.MaxWait", "%v is not shorter than Timeout, %v: a call that waits so long has no time left", l.MaxWait, p.Timeout)
	}
}
