package jitter

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/astra-grpc/astra/internal/field"
)

const (
	defaultBase       = 500 * time.Millisecond
	defaultMax        = 8 * time.Second
	defaultMultiplier = 2
)

// Backoff is an exponential schedule of delays: before retry n it is
// min(Base · Multiplier^(n−1), Max), which Jitter then spreads. The zero value
// waits 0.5 s, 1 s, 2 s, 4 s, 8 s, 8 s, … with [Full] jitter.
//
// The methods work for every value. A field that [Backoff.Validate] calls out
// of range by itself counts as its default; a Base above Max is cut to Max.
// Backoff is a plain value: comparable, and safe to use from any goroutine
// while nobody writes to it.
type Backoff struct {
	// Base is the delay before the first retry. 0 means 500 ms.
	Base time.Duration
	// Max caps the schedule, before jitter: see [Full]. 0 means 8 s, also where
	// Base is longer than that: such a Base needs a Max of its own.
	Max time.Duration
	// Multiplier is the ratio of each delay to the one before. 1: all delays
	// are Base. 0 means 2.
	Multiplier float64
	// Jitter spreads each delay. The zero value is [Full].
	Jitter Strategy
}

// Delay returns the schedule's delay before the retry of that number, without
// jitter: 0 for attempt 0, the first call, and for anything below; Base for
// attempt 1. It never falls as attempt grows, and never exceeds Max. Fractions
// are rounded to the nearest nanosecond.
func (b Backoff) Delay(attempt int) time.Duration {
	return b.effective().delay(attempt)
}

// Next returns [Backoff.Delay] with Jitter applied. prev is what Next returned
// for the retry before, 0 for the first; u is the chance, uniform in [0, 1).
// See [Strategy.Apply]. Attempt 0 is never delayed, whatever the strategy.
func (b Backoff) Next(attempt int, prev time.Duration, u float64) time.Duration {
	if attempt <= 0 {
		return 0
	}
	b = b.effective()
	return b.Jitter.Apply(b.delay(attempt), prev, b.Base, b.Max, u)
}

// Validate returns every fault of b, joined, or nil. Each is what package
// interceptors calls a *FieldError, and names the field, its value and the range
// allowed:
//
//   - Base: > 0, or 0.
//   - Max: ≥ Base, or 0. The defaults take part: a Base above 8 s with a Max
//     of 0 is a fault of Max, as is a Max below 500 ms with a Base of 0.
//   - Multiplier: ≥ 1 and finite, or 0.
//   - Jitter: one of the six.
//
// Max is not compared with a Base that is itself invalid.
func (b Backoff) Validate() error {
	var faults []error
	fault := func(e *field.Error) { faults = append(faults, e) }

	e := b.effective()
	if b.Base < 0 {
		fault(field.OutOfRange("Base", b.Base, defaultBase.String(), "> 0"))
	}
	switch {
	case b.Max < 0, b.Base >= 0 && e.Base > e.Max:
		fault(field.OutOfRange("Max", b.Max, defaultMax.String(), ">= %v, which is %v", field.Ref("Base"), e.Base))
	}
	if b.Multiplier != 0 && !growing(b.Multiplier) {
		fault(field.OutOfRange("Multiplier", b.Multiplier, fmt.Sprint(defaultMultiplier), ">= 1 and finite"))
	}
	if !b.Jitter.known() {
		fault(&field.Error{Field: "Jitter", Value: b.Jitter, Problem: "is unknown", Want: allowed()})
	}
	return errors.Join(faults...)
}

// effective puts defaults in place of zero and out-of-range fields.
func (b Backoff) effective() Backoff {
	if b.Base <= 0 {
		b.Base = defaultBase
	}
	if b.Max <= 0 {
		b.Max = defaultMax
	}
	if !growing(b.Multiplier) {
		b.Multiplier = defaultMultiplier
	}
	return b
}

// delay wants an effective b.
func (b Backoff) delay(attempt int) time.Duration {
	if attempt <= 0 {
		return 0
	}
	if attempt == 1 {
		return min(b.Base, b.Max)
	}
	// The comparison is made in floats, where Base · ∞ is an ordinary number:
	// what lies below Max also fits an int64.
	d := math.Round(float64(b.Base) * math.Pow(b.Multiplier, float64(attempt-1)))
	if d >= float64(b.Max) {
		return b.Max
	}
	return max(b.Base, time.Duration(d)) // a Base beyond 2⁵³ ns has been rounded
}

func growing(multiplier float64) bool { return multiplier >= 1 && multiplier <= math.MaxFloat64 }
