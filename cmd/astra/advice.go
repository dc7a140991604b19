package main

import (
	"context"
	"fmt"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
)

// adviser says what outcomes show that could be changed, with the figures it goes
// by. Where it proposes a change that can be simulated, it says what that did.
type adviser struct {
	ctx    context.Context
	policy *engine.Policy
	world  sim.World
	advice []string
	err    error
}

func advise(ctx context.Context, p *engine.Policy, all []*sim.Outcome, w sim.World) ([]string, error) {
	a := &adviser{ctx: ctx, policy: p, world: w}
	a.times()
	for _, o := range all {
		for _, look := range []func(*sim.Outcome){a.calm, a.outage, a.oneBad, a.slow, a.stall, a.returns, a.storm} {
			look(o)
		}
	}
	if len(a.advice) == 0 {
		a.add("Nothing to change: calls come back soon after each fault, and no backend has much more than its share.")
	}
	return a.advice, a.err
}

func (a *adviser) add(format string, args ...any) {
	a.advice = append(a.advice, fmt.Sprintf(format, args...))
}

// with simulates a scenario with another policy or world; it returns the outcome
// as it was after an error.
func (a *adviser) with(o *sim.Outcome, change func(*engine.Policy, *sim.World)) *sim.Outcome {
	p, w := *a.policy, a.world
	change(&p, &w)
	sc, _ := sim.Find(o.Scenario)
	other, err := sc.Run(a.ctx, &p, w)
	if err != nil {
		a.err = err
		return o
	}
	return other
}

func balanced(_ *engine.Policy, w *sim.World) {
	w.Balancing = new(inside.BalancingOf(interceptors.Balancing{}))
}

// times is about times that do not fit.
func (a *adviser) times() {
	p, w := a.policy, a.world
	limit, name := p.Timeout, "timeout"
	if limit == 0 || w.Deadline > 0 && w.Deadline < limit {
		limit, name = w.Deadline, "deadline of the callers"
	}
	if n := p.Retry.MaxAttempts; n > 1 && !p.Hedges() && limit > 0 && p.AttemptTimeout > 0 {
		var at time.Duration
		for i := 1; i < n; i++ {
			at += p.AttemptTimeout + p.Retry.Backoff.Delay(i)
			if at >= limit {
				a.add("attemptTimeout %v × %d and the backoffs before it exceed the %v %s: attempt %d never starts if those before it hang. Lower attemptTimeout to %v, or maxAttempts to %d.",
					p.AttemptTimeout, i, limit, name, i+1, fits(p, n, limit), i)
				break
			}
		}
	}
	if p.AttemptTimeout > 0 && p.AttemptTimeout < 3*w.Latency {
		a.add("attemptTimeout %v is less than three times the latency, %v: when the server becomes a little slower, attempts are given up that would have succeeded.", p.AttemptTimeout, w.Latency)
	}
}

// fits is the attempt timeout with which n attempts start within a limit.
func fits(p *engine.Policy, n int, limit time.Duration) time.Duration {
	for i := 1; i < n; i++ {
		limit -= p.Retry.Backoff.Delay(i)
	}
	return max(limit/time.Duration(n), time.Millisecond).Round(time.Millisecond)
}

func (a *adviser) calm(o *sim.Outcome) {
	if o.Scenario == "calm" && o.Refused > 0.001 {
		a.add("calm: %.1f %% of the calls are refused though nothing is wrong: by the limit, if no breaker opened; a client has %.1f calls in flight on average.",
			100*o.Refused, a.world.Rate/float64(max(a.world.Clients, 1))*o.P50)
	}
	if o.False > 0 {
		a.add("%s: breakers opened %d times while nothing was wrong: raise breaker.consecutive or breaker.minCalls.", o.Scenario, o.False)
	}
	if o.Scenario != "calm" && o.Calm < 0.99 {
		a.add("%s: before the fault only %.1f %% of the calls succeed: the server cannot take %v calls/s, or timeouts are too short.", o.Scenario, 100*o.Calm, a.world.Rate)
	}
}

func (a *adviser) outage(o *sim.Outcome) {
	p, w := a.policy, a.world
	switch {
	case o.Scenario != "outage" && o.Scenario != "herd":
	case p.BreakerOff:
		a.add("%s: there is no breaker, so a dead server gets %.2f attempts per call all the time.", o.Scenario, o.Load)
	case o.Opens < 0 && p.Breaker.Consecutive > 0:
		a.add("%s: no breaker opened in %v: %d failures in a row are too many for %v calls/s of %d client(s).", o.Scenario, w.Fault, p.Breaker.Consecutive, w.Rate, max(w.Clients, 1))
	}
}

func (a *adviser) oneBad(o *sim.Outcome) {
	if o.Scenario != "one-bad" || a.world.Balancing != nil {
		return
	}
	p, n := a.policy, max(a.world.Backends, 2)
	needed := 1 / float64(n) / (1 - 1/float64(n)) // retries per success that one bad backend of n costs
	if !p.BudgetOff && p.Retry.MaxAttempts > 1 && o.During < 0.99 && p.Budget.Ratio < needed {
		ratio := min(10, 1.2*needed)
		paid := a.with(o, func(p *engine.Policy, _ *sim.World) { p.Budget.Ratio = ratio })
		spread := a.with(o, balanced)
		a.add("one-bad: this budget cannot pay for one bad backend of %d: that takes %.2f retries per success, and ratio is %v, so %.1f %% of the calls fail. Balancing, which ejects it (interceptors.WithBalancing), makes that %.1f %%; budget.ratio %.2g makes it %.1f %%.",
			n, needed, p.Budget.Ratio, 100*(1-o.During), 100*(1-spread.During), ratio, 100*(1-paid.During))
	}
	if o.Opens >= 0 {
		a.add("one-bad: the breaker opened after %.1f s for all backends though %d of %d are well, and refused %.1f %% of the calls: use interceptors.WithBalancing, which keeps a breaker for each backend; it refuses %.1f %%.",
			o.Opens, n-1, n, 100*o.Refused, 100*a.with(o, balanced).Refused)
	}
}

func (a *adviser) slow(o *sim.Outcome) {
	if p := a.policy; o.Scenario != "slow" || p.AttemptTimeout != 0 || p.Hedges() || o.P99 <= 10*a.world.Latency.Seconds() {
		return
	}
	text := ""
	if a.world.Balancing == nil || !a.world.Balancing.P2C {
		byCost := a.with(o, func(_ *engine.Policy, w *sim.World) {
			w.Balancing = new(inside.BalancingOf(interceptors.Balancing{Policy: "p2c"}))
		})
		if byCost.P99 < o.P99/2 {
			text = fmt.Sprintf(" Balancing by p2c makes it %s.", brief(byCost.P99))
		}
	}
	a.add("slow: callers wait for the slow backend, p99 %s: set attemptTimeout, or hedge if the method is idempotent.%s", brief(o.P99), text)
}

func (a *adviser) stall(o *sim.Outcome) {
	if o.Scenario == "stall" && o.Wasted > 0.25 {
		a.add("stall: %.0f %% of what backends served came too late for its caller: set a timeout, or limit.maxConcurrent, so that less piles up.", 100*o.Wasted)
	}
}

// withBoth gives a policy the breaker and the budget that it lacks.
func withBoth(p *engine.Policy, _ *sim.World) {
	d := inside.PolicyOf(interceptors.Policy{}, false, false)
	if p.BreakerOff {
		p.BreakerOff, p.Breaker = false, d.Breaker
	}
	if p.BudgetOff {
		p.BudgetOff, p.Budget = false, d.Budget
	}
}

// returns is about the time until calls succeed again.
func (a *adviser) returns(o *sim.Outcome) {
	p := a.policy
	switch {
	case o.Back < 0 && (p.BreakerOff || p.BudgetOff):
		text := ""
		if other := a.with(o, withBoth); other.Back >= 0 {
			text = fmt.Sprintf(" With breaker and budget, by their defaults, they are back after %.1f s.", other.Back)
		}
		a.add("%s: calls do not come back within 20 s of the end of the fault: the load keeps the server down.%s", o.Scenario, text)
	case o.Back < 0:
		a.add("%s: calls do not come back within 20 s of the end of the fault: the load keeps the server down, or the breaker stays open (maxOpenFor %v).", o.Scenario, p.Breaker.MaxOpenFor)
	case o.Back > 5 && o.Opens < 0:
		a.add("%s: calls come back only %.1f s after the end of the fault, when what had piled up is served: set a shorter timeout, or limit.maxConcurrent.", o.Scenario, o.Back)
	case o.Back > 5:
		text := ""
		if other := a.with(o, func(p *engine.Policy, _ *sim.World) {
			p.Breaker.OpenFor, p.Breaker.MaxOpenFor = min(p.Breaker.OpenFor, 2*time.Second), 2*time.Second
		}); other.Back >= 0 && other.Back < o.Back/1.5 {
			text = fmt.Sprintf(" With maxOpenFor 2s: %.1f s.", other.Back)
		}
		a.add("%s: calls come back only %.1f s after the end of the fault: lower breaker.maxOpenFor, or raise breaker.probeShare.%s", o.Scenario, o.Back, text)
	}
}

func (a *adviser) storm(o *sim.Outcome) {
	if o.Peak <= 2 || a.world.Balancing != nil && (o.Scenario == "one-bad" || o.Scenario == "slow" || o.Scenario == "rolling") {
		return // or the others get what the bad one would have got
	}
	p := a.policy
	if p.BudgetOff {
		a.add("%s: a backend gets %.1f times its share in its worst second, as no budget bounds retries: %.1f with one by its defaults.", o.Scenario, o.Peak, a.with(o, withBoth).Peak)
		return
	}
	a.add("%s: a backend gets %.1f times its share in its worst second: lower budget.burst (%v) or budget.ratio (%v).", o.Scenario, o.Peak, p.Budget.Burst, p.Budget.Ratio)
}
