// Package jitter computes how long to wait before a retry: an exponential
// schedule ([Backoff]), spread at random ([Strategy]).
//
// All functions are pure: the caller passes the random number, nothing reads a
// clock, nothing allocates. They may be called from any goroutine.
//
// Full and decorrelated are this project's names for its own formulas. The
// formulas that the AWS Architecture Blog ("Exponential Backoff And Jitter",
// 2015) gives these names are [AWSFull] and [AWSDecorrelated].
package jitter

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Strategy is a formula that spreads a delay, so that callers which failed
// together do not come back together. The zero value is [Full].
type Strategy uint8

const (
	// Full is delay · U[0.5, 1.5). It is applied after the cap, so a delay may
	// exceed the maximum by half: capped callers stay spread, and the mean
	// stays the schedule's.
	Full Strategy = iota
	// Equal is delay/2 + delay/2 · U[0, 1): at least half the schedule, never
	// more than it.
	Equal
	// Decorrelated is min(max, delay · U[0, 3)). It may be 0.
	Decorrelated
	// None is the delay itself. Callers which failed together come back
	// together: for tests, or for a caller that is alone.
	None
	// AWSFull is U[0, delay), the AWS Architecture Blog's "full jitter". It may
	// be 0.
	AWSFull
	// AWSDecorrelated is min(max, U[base, 3 · previous)), the AWS Architecture
	// Blog's "decorrelated jitter". It grows by chance and not by the schedule.
	AWSDecorrelated
)

var names = [...]string{
	Full:            "full",
	Equal:           "equal",
	Decorrelated:    "decorrelated",
	None:            "none",
	AWSFull:         "aws-full",
	AWSDecorrelated: "aws-decorrelated",
}

// Parse returns the strategy of that name: full, equal, decorrelated, none,
// aws-full or aws-decorrelated, spelled exactly so. For any other name it
// returns an error with the name and the six.
func Parse(name string) (Strategy, error) {
	for s, known := range names {
		if name == known {
			return Strategy(s), nil
		}
	}
	return 0, fmt.Errorf("strategy %q is unknown: want %s", name, allowed())
}

// String returns the name that [Parse] takes, or "Strategy(42)" for a value
// that is no strategy.
func (s Strategy) String() string {
	if !s.known() {
		return fmt.Sprintf("Strategy(%d)", uint8(s))
	}
	return names[s]
}

// MarshalText implements [encoding.TextMarshaler]. A value that is no strategy
// is an error.
func (s Strategy) MarshalText() ([]byte, error) {
	if !s.known() {
		return nil, fmt.Errorf("%v is unknown: want %s", s, allowed())
	}
	return []byte(names[s]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] with the names and the
// error of [Parse]. On an error s is unchanged.
func (s *Strategy) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Apply spreads delay, the schedule's delay before this retry. prev is the
// delay that came before it, jitter included, base the schedule's first delay
// and max its cap; only the decorrelated strategies look beyond delay. A prev
// of 0, that of the first retry, counts as base.
//
// u is the chance, uniform in [0, 1). A u outside counts as the nearest number
// inside, and NaN as 0.5, so that a broken source of random numbers does not
// make callers retry at once.
//
// The result is truncated to nanoseconds, never negative, and stops at the
// longest time.Duration instead of overflowing. Negative durations count as 0.
// A value that is no strategy counts as [Full].
func (s Strategy) Apply(delay, prev, base, max time.Duration, u float64) time.Duration {
	delay, prev, base, max = notNegative(delay), notNegative(prev), notNegative(base), notNegative(max)
	u = inUnit(u)
	switch s {
	case Equal:
		return delay/2 + share(delay-delay/2, u)
	case Decorrelated:
		return min(max, share(triple(delay), u))
	case None:
		return delay
	case AWSFull:
		return share(delay, u)
	case AWSDecorrelated:
		if prev == 0 {
			prev = base
		}
		// A prev below a third of base leaves nothing to draw from.
		return min(max, base+share(notNegative(triple(prev)-base), u))
	default: // Full
		return add(delay/2, share(delay, u))
	}
}

func (s Strategy) known() bool { return int(s) < len(names) }

func allowed() string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

const longest = time.Duration(math.MaxInt64)

func notNegative(d time.Duration) time.Duration { return max(d, 0) }

// inUnit maps every float64 into [0, 1).
func inUnit(u float64) float64 {
	if math.IsNaN(u) {
		return 0.5
	}
	return min(max(u, 0), math.Nextafter(1, 0))
}

// share is d · u for d ≥ 0 and u in [0, 1). It stays below d, and so within an
// int64, even where d is rounded up to a float64: the largest u, 1 − 2⁻⁵³, takes
// off more than rounding adds.
func share(d time.Duration, u float64) time.Duration {
	return time.Duration(float64(d) * u)
}

func triple(d time.Duration) time.Duration {
	if d > longest/3 {
		return longest
	}
	return 3 * d
}

func add(a, b time.Duration) time.Duration {
	if a > longest-b {
		return longest
	}
	return a + b
}
