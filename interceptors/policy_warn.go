package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/internal/field"
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
//   - A probe that may take longer than its slot is kept.
//   - A Budget.Burst that does not pay for one call's retries.
//   - A Limit.MaxWait that uses up Timeout; none, where calls may queue.
//   - A backoff for a code, or a schedule, where nothing is retried.
//
// Given the patterns that the policy is for, it looks up the methods that they
// match among the descriptors linked into the program, and warns of two more:
//
//   - A Retry that repeats requests which may have run ([RepeatAny]), for a
//     method whose name says that it writes and that is not declared
//     idempotent. A method that a pattern names exactly needs no descriptor for
//     that.
//   - A Timeout for a method that streams: it ends the stream.
func (p Policy) Warnings(patterns ...string) []FieldError {
	var w warnings
	full := p.withDefaults()
	if p.Hedge.on() {
		w.hedges(full)
	} else {
		w.retries(full)
	}
	w.breaker(full)
	w.limit(full)
	w.methods(full, patterns)
	return w
}

type warnings []FieldError

// add adds a warning by a rule, whose name tools use to switch it off.
func (w *warnings) add(rule, path string, value any, format string, args ...any) {
	e := field.New(path, value, format, args...)
	e.Rule = rule
	*w = append(*w, *e)
}

func (w *warnings) retries(p Policy) {
	r := p.Retry
	if r.MaxAttempts == 1 {
		if len(r.PerCode) > 0 {
			w.add("code-never-retried", "Retry.PerCode", nil, "has no effect: %v is 1, so nothing is retried", ref("Retry.MaxAttempts"))
		}
		return
	}
	if p.Timeout > 0 {
		for n := 2; n <= r.MaxAttempts; n++ {
			if begins := p.begins(n); begins >= p.Timeout {
				w.late(p, n, begins)
				break
			}
		}
	}
	w.burst(p.Budget, "retries", r.MaxAttempts-1)
}

// late adds that attempt n begins when the call has ended.
func (w *warnings) late(p Policy, n int, begins time.Duration) {
	most, timeout := p.Retry.MaxAttempts, ref("Timeout")
	if p.AttemptTimeout == 0 {
		w.add("attempt-never-starts", "Retry.MaxAttempts", nil, "attempt %d of %d would begin %v into the call, for the backoffs alone, which ends at its %v, %v",
			n, most, begins, timeout, p.Timeout)
		return
	}
	w.add("attempt-never-starts", "Retry.MaxAttempts", nil, "attempt %d of %d would begin %v into the call, if each before it takes its %v, %v, which ends at its %v, %v",
		n, most, begins, ref("AttemptTimeout"), p.AttemptTimeout, timeout, p.Timeout)
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

func (w *warnings) hedges(p Policy) {
	h := p.Hedge
	switch last := h.Delay * time.Duration(h.MaxAttempts-1); {
	case h.Delay == 0: // the method's own p95
	case p.AttemptTimeout > 0 && h.Delay >= p.AttemptTimeout:
		w.add("hedge-never-starts", "Hedge.Delay", h.Delay, "is not shorter than %v, %v: no hedge starts beside an attempt that is slow", ref("AttemptTimeout"), p.AttemptTimeout)
	case p.Timeout > 0 && h.Delay >= p.Timeout:
		w.add("hedge-never-starts", "Hedge.Delay", h.Delay, "is not shorter than %v, %v: no hedge starts beside an attempt that is slow", ref("Timeout"), p.Timeout)
	case p.Timeout > 0 && (last >= p.Timeout || last/h.Delay != time.Duration(h.MaxAttempts-1)):
		w.add("hedge-never-starts", "Hedge.MaxAttempts", h.MaxAttempts, "at intervals of %v, %v, are more than can start within %v, %v", ref("Hedge.Delay"), h.Delay, ref("Timeout"), p.Timeout)
	}
	w.burst(p.Budget, "hedges", h.MaxAttempts-1)
}

func (w *warnings) burst(b Budget, what string, most int) {
	if !b.Disabled && b.Burst < float64(most) {
		w.add("budget-too-small", "Budget.Burst", b.Burst, "does not pay for the %d %s that one call may make", most, what)
	}
}

func (w *warnings) breaker(p Policy) {
	b := p.Breaker
	if b.Disabled {
		return
	}
	life, named := p.AttemptTimeout, ref("AttemptTimeout")
	if life == 0 {
		life, named = p.Timeout, ref("Timeout")
	}
	if life > 0 && b.SlowCall > life {
		w.add("slow-never-seen", "Breaker.SlowCall", b.SlowCall, "is longer than %v, %v: no call is slow", named, life)
	}
	switch {
	case b.Window/2 < b.SlowCall:
		w.add("slow-never-seen", "Breaker.Window", b.Window, "is less than twice %v, %v: slow calls seldom meet in it", ref("Breaker.SlowCall"), b.SlowCall)
	case b.Window/2 < p.AttemptTimeout:
		w.add("slow-never-seen", "Breaker.Window", b.Window, "is less than twice %v, %v: attempts that time out seldom meet in it", ref("AttemptTimeout"), p.AttemptTimeout)
	}
	if p.Hedge.on() {
		return
	}
	if first := p.Retry.Backoff.Delay(1); p.Retry.MaxAttempts > 1 && b.OpenFor < first {
		w.add("breaker-too-short", "Breaker.OpenFor", b.OpenFor, "is over before the first backoff, %v: the breaker gives the server less rest than one retry does", first)
	}
	if longest := sum(p.begins(p.Retry.MaxAttempts), p.AttemptTimeout); p.Timeout == 0 && p.AttemptTimeout > 0 && longest > minProbeTTL {
		w.add("probe-outlived", "Timeout", nil, "none: a call can last %v, but a probe's slot is freed after %v, or after %v if that is longer",
			longest, minProbeTTL, ref("Timeout"))
	}
}

func (w *warnings) limit(p Policy) {
	l := p.Limit
	switch {
	case l.MaxQueue == 0 || l.MaxWait > 0:
	case l.Adaptive:
		w.add("queue-without-end", "Limit.MaxWait", nil, "none: when an adaptive limit shrinks, calls wait in its queue until they have no time left, and it cannot recover")
	default:
		w.add("queue-without-end", "Limit.MaxWait", nil, "none: when more calls come than the limit lets through, each waits in its queue until it has no time left, and hardly one succeeds")
	}
	if p.Timeout > 0 && l.MaxWait >= p.Timeout {
		w.add("queue-without-end", "Limit.MaxWait", l.MaxWait, "is not shorter than %v, %v: a call that waits so long has no time left", ref("Timeout"), p.Timeout)
	}
}
