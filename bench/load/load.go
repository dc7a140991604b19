// Package load makes calls at the times of a schedule, however long they take:
// an open loop, like the users of a service, who do not come slower because it
// is slow. What a call took is counted from when it was to begin. So a stall
// shows in all calls that it kept waiting, and not only in the few that were
// under way; and if the generator itself is late, that shows as well.
package load

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// Outcome is how a call ended, as its caller sees it.
type Outcome uint8

// How a call can end.
const (
	Missing Outcome = iota // the run was broken off before
	OK
	Failed
	Refused // by a breaker: no attempt was made
)

// Plan is a run: Calls calls, 1/Rate seconds apart, the first at once.
type Plan struct {
	Rate  float64 // calls a second
	Calls int
	// Timeout is each call's, from when it is to begin. 0: none.
	Timeout time.Duration
	// InFlight bounds the calls under way. One that finds no place begins when
	// another has ended, late, and delays those after it. 0: 10,000.
	InFlight int
	// Events are done meanwhile, each at its time.
	Events []Event
}

// Event is something that happens during a run.
type Event struct {
	At time.Duration // since the run began
	Do func(at time.Duration)
}

// Sample is one call. Times are since the run began.
type Sample struct {
	At      time.Duration // when it was to begin
	Began   time.Duration
	Ended   time.Duration
	Outcome Outcome
}

// Took is the time from when the call was to begin to its end: what its user
// waited.
func (s Sample) Took() time.Duration { return s.Ended - s.At }

// Lag is by how much the generator was late.
func (s Sample) Lag() time.Duration { return s.Began - s.At }

// Own is what the call itself took.
func (s Sample) Own() time.Duration { return s.Ended - s.Began }

// Run makes the calls, each on a goroutine of its own, and returns a sample of
// every one, in their order, once all have ended. The context of a call ends
// with its timeout. If ctx ends, Run begins no more calls, waits for those under
// way, and returns ctx's error.
func (p Plan) Run(ctx context.Context, call func(ctx context.Context, n int) Outcome) ([]Sample, error) {
	if p.Rate <= 0 || p.Calls < 0 {
		return nil, errors.New("load: a plan needs a rate above 0 and a number of calls")
	}
	places := make(chan struct{}, max(p.InFlight, 0))
	if p.InFlight <= 0 {
		places = make(chan struct{}, 10_000)
	}
	samples := make([]Sample, p.Calls)
	var running sync.WaitGroup
	defer running.Wait()
	start := time.Now()
	p.runEvents(ctx, &running, start)
	for n := range samples {
		s := &samples[n]
		s.At = p.at(n)
		if err := until(ctx, start.Add(s.At)); err != nil {
			return nil, err
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		running.Go(func() {
			defer func() { <-places }()
			callCtx, cancel := ctx, context.CancelFunc(func() {})
			if p.Timeout > 0 {
				callCtx, cancel = context.WithDeadline(ctx, start.Add(s.At+p.Timeout))
			}
			defer cancel()
			s.Began = time.Since(start)
			s.Outcome = call(callCtx, n)
			s.Ended = time.Since(start)
		})
	}
	running.Wait()
	return samples, ctx.Err()
}

// Length is how long it takes until all calls have begun.
func (p Plan) Length() time.Duration { return p.at(p.Calls) }

func (p Plan) at(n int) time.Duration {
	return time.Duration(math.Round(float64(n) / p.Rate * float64(time.Second)))
}

// runEvents does all events in the order of their times.
func (p Plan) runEvents(ctx context.Context, running *sync.WaitGroup, start time.Time) {
	if len(p.Events) == 0 {
		return
	}
	events := slices.Clone(p.Events)
	slices.SortStableFunc(events, func(a, b Event) int { return int(a.At - b.At) })
	running.Go(func() {
		for _, e := range events {
			if until(ctx, start.Add(e.At)) != nil {
				return
			}
			e.Do(time.Since(start))
		}
	})
}

func until(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
