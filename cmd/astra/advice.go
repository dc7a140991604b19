package main

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/sim"
)

// advise says what the outcomes show that could be changed, with the figures it
// goes by.
func advise(p *engine.Policy, all []*sim.Outcome, w sim.World) (advice []string) {
	add := func(format string, args ...any) { advice = append(advice, fmt.Sprintf(format, args...)) }
	adviseTimes(p, w, add)
	for _, o := range all {
		adviseOutcome(p, o, w, add)
	}
	if len(advice) == 0 {
		add("Nothing to change: calls come back soon after each fault, and no backend has much more than its share.")
	}
	return advice
}

// adviseTimes is about times that do not fit.
func adviseTimes(p *engine.Policy, w sim.World, add func(string, ...any)) {
	limit, name := p.Timeout, "timeout"
	if limit == 0 || w.Deadline > 0 && w.Deadline < limit {
		limit, name = w.Deadline, "deadline of the callers"
	}
	if n := p.Retry.MaxAttempts; n > 1 && !p.Hedges() && limit > 0 && p.AttemptTimeout > 0 {
		var at time.Duration
		for i := 1; i < n; i++ {
			at += p.AttemptTimeout + p.Retry.Backoff.Delay(i)
			if at >= limit {
				add("attemptTimeout %v × %d and the backoffs before it exceed the %v %s: attempt %d never starts if those before it hang. Lower attemptTimeout to %v, or maxAttempts to %d.",
					p.AttemptTimeout, i, limit, name, i+1, fits(p, n, limit), i)
				break
			}
		}
	}
	if p.AttemptTimeout > 0 && p.AttemptTimeout < 3*w.Latency {
		add("attemptTimeout %v is less than three times the latency, %v: when the server becomes a little slower, attempts are given up that would have succeeded.", p.AttemptTimeout, w.Latency)
	}
}

// fits is the attempt timeout with which n attempts start within a limit.
func fits(p *engine.Policy, n int, limit time.Duration) time.Duration {
	for i := 1; i < n; i++ {
		limit -= p.Retry.Backoff.Delay(i)
	}
	return max(limit/time.Duration(n), time.Millisecond).Round(time.Millisecond)
}

func adviseOutcome(p *engine.Policy, o *sim.Outcome, w sim.World, add func(string, ...any)) {
	switch o.Scenario {
	case "outage", "herd":
		if p.BreakerOff {
			add("%s: there is no breaker, so a dead server gets %.2f attempts per call all the time.", o.Scenario, o.Load)
		} else if o.Opens < 0 && p.Breaker.Consecutive > 0 {
			add("%s: no breaker opened in %v: %d failures in a row are too many for %v calls/s of %d client(s).", o.Scenario, w.Fault, p.Breaker.Consecutive, w.Rate, max(w.Clients, 1))
		}
	case "one-bad":
		n := max(w.Backends, 2)
		needed := 1 / float64(n) / (1 - 1/float64(n)) // retries per success that one bad backend of n costs
		if !p.BudgetOff && p.Retry.MaxAttempts > 1 && o.During < 0.99 && p.Budget.Ratio < needed {
			add("one-bad: this budget cannot pay for one bad backend of %d: that takes %.2f retries per success, and ratio is %v, so %.1f %% of the calls fail. Eject bad backends (interceptors.WithBalancing), or raise budget.ratio.",
				n, needed, p.Budget.Ratio, 100*(1-o.During))
		}
		if o.Opens >= 0 {
			add("one-bad: the breaker opened after %.1f s for all backends though %d of %d are well, and refused %.1f %% of the calls: use interceptors.WithBalancing, which keeps a breaker for each backend.",
				o.Opens, n-1, n, 100*o.Refused)
		}
	case "slow":
		if p.AttemptTimeout == 0 && !p.Hedges() && o.P99 > 5*w.Latency.Seconds() {
			add("slow: callers wait for the slow backend, p99 %s: set attemptTimeout, or hedge if the method is idempotent.", brief(o.P99))
		}
	case "stall":
		if o.Wasted > 0.25 {
			add("stall: %.0f %% of what backends served was for nobody: set a timeout, or limit.maxConcurrent, so that less piles up.", 100*o.Wasted)
		}
	}
	if o.Back < 0 {
		add("%s: calls do not come back within 20 s of the end of the fault: the load keeps the server down, or the breaker stays open (maxOpenFor %v).", o.Scenario, p.Breaker.MaxOpenFor)
	} else if o.Back > 5 {
		add("%s: calls come back only %.1f s after the end of the fault: lower breaker.maxOpenFor, or raise breaker.probeShare.", o.Scenario, o.Back)
	}
	if o.Peak > 2 {
		add("%s: a backend gets %.1f times its share in its worst second: lower budget.burst (%v) or budget.ratio (%v).", o.Scenario, o.Peak, p.Budget.Burst, p.Budget.Ratio)
	}
	if o.False > 0 {
		add("%s: breakers opened %d times while nothing was wrong: raise breaker.consecutive or breaker.minCalls.", o.Scenario, o.False)
	}
	if o.Calm < 0.99 {
		add("%s: before the fault only %.1f %% of the calls succeed: the server cannot take %v calls/s, or timeouts are too short.", o.Scenario, 100*o.Calm, w.Rate)
	}
}
