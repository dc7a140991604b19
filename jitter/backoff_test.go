package jitter

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDefaultSchedule(t *testing.T) {
	const ms = time.Millisecond
	want := []time.Duration{0, 500 * ms, 1000 * ms, 2000 * ms, 4000 * ms, 8000 * ms, 8000 * ms}
	for _, b := range []Backoff{
		{},
		{Base: 500 * ms, Max: 8000 * ms, Multiplier: 2, Jitter: Full},
		{Base: -1, Max: -1, Multiplier: math.NaN(), Jitter: 42}, // out of range: defaults
	} {
		for attempt, d := range want {
			if got := b.Delay(attempt); got != d {
				t.Errorf("%+v, attempt %d: %v, want %v", b, attempt, got, d)
			}
		}
	}
}

func TestDelay(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		b       Backoff
		attempt int
		want    time.Duration
	}{
		{Backoff{}, -1, 0},
		{Backoff{}, math.MinInt, 0},
		{Backoff{}, 10_000, 8 * second},
		{Backoff{}, math.MaxInt, 8 * second},
		{Backoff{Max: longest}, 10_000, longest},
		{Backoff{Max: longest, Multiplier: math.MaxFloat64}, 2, longest},
		{Backoff{Base: 48 * time.Hour, Max: 100 * time.Hour}, 2, 96 * time.Hour},
		{Backoff{Base: 48 * time.Hour, Max: 100 * time.Hour}, 3, 100 * time.Hour},
		{Backoff{Base: longest - 2, Max: longest - 1}, 1, longest - 2},
		{Backoff{Base: 1<<53 + 1, Max: longest, Multiplier: 1}, 5, 1<<53 + 1}, // not a float64
		{Backoff{Base: 10 * second}, 1, 8 * second},                           // Validate faults it, Delay caps it
		{Backoff{Base: second, Multiplier: 1}, 10_000, second},
		{Backoff{Base: second, Multiplier: 1.5}, 3, 2250 * time.Millisecond},
		{Backoff{Base: 300 * time.Millisecond, Multiplier: 1.1}, 2, 330 * time.Millisecond},
		{Backoff{Base: second, Multiplier: 0.5}, 2, 2 * second}, // out of range: default
		{Backoff{Base: second, Multiplier: math.Inf(1)}, 2, 2 * second},
	} {
		if got := c.b.Delay(c.attempt); got != c.want {
			t.Errorf("%+v, attempt %d: %v, want %v", c.b, c.attempt, got, c.want)
		}
	}
}

// backoffs draws valid schedules. Multipliers between 1 and 1.001 are left out:
// there the rounding of a power may outweigh its growth by a nanosecond.
func backoffs() *rapid.Generator[Backoff] {
	return rapid.Custom(func(t *rapid.T) Backoff {
		base := rapid.Int64Range(1, math.MaxInt64).Draw(t, "base")
		return Backoff{
			Base:       time.Duration(base),
			Max:        time.Duration(rapid.Int64Range(base, math.MaxInt64).Draw(t, "max")),
			Multiplier: rapid.OneOf(rapid.Just(1.0), rapid.Just(2.0), rapid.Float64Range(1.001, math.MaxFloat64), rapid.Float64Range(1.001, 4)).Draw(t, "multiplier"),
			Jitter:     rapid.SampledFrom(strategies).Draw(t, "jitter"),
		}
	})
}

func TestDelayIsMonotoneAndCapped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := backoffs().Draw(t, "backoff")
		attempt := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, math.MaxInt-1)).Draw(t, "attempt")
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := b.Delay(1); got != b.Base {
			t.Fatalf("attempt 1: %v, want Base %v", got, b.Base)
		}
		this, next := b.Delay(attempt), b.Delay(attempt+1)
		if this < b.Base || this > next || next > b.Max {
			t.Fatalf("want Base %v <= %v <= %v <= Max %v", b.Base, this, next, b.Max)
		}
	})
}

// A power of two is what a loop of doublings gives, to the nanosecond.
func TestDelayDoublesExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Int64Range(1, 1<<40).Draw(t, "base")
		limit := rapid.Int64Range(base, 1<<52).Draw(t, "max")
		b := Backoff{Base: time.Duration(base), Max: time.Duration(limit)}
		for attempt, want := 1, base; attempt < 60; attempt++ {
			if got := b.Delay(attempt); got != time.Duration(want) {
				t.Fatalf("attempt %d: %v, want %v", attempt, got, time.Duration(want))
			}
			want = min(2*want, limit)
		}
	})
}

func TestNextAppliesJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := backoffs().Draw(t, "backoff")
		attempt := rapid.IntRange(-2, 10_000).Draw(t, "attempt")
		prev, u := durations().Draw(t, "prev"), chances().Draw(t, "u")
		want := time.Duration(0)
		if attempt > 0 {
			want = b.Jitter.Apply(b.Delay(attempt), prev, b.Base, b.Max, u)
		}
		if got := b.Next(attempt, prev, u); got != want {
			t.Fatalf("Next(%d, %v, %v) = %v, want %v", attempt, prev, u, got, want)
		}
	})
}

// Whatever the fields, nothing panics and nothing is negative.
func TestBackoffIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := Backoff{
			Base:       durations().Draw(t, "base"),
			Max:        durations().Draw(t, "max"),
			Multiplier: rapid.OneOf(rapid.Float64(), chances()).Draw(t, "multiplier"),
			Jitter:     Strategy(rapid.Uint8().Draw(t, "jitter")),
		}
		attempt := rapid.Int().Draw(t, "attempt")
		if got := b.Next(attempt, durations().Draw(t, "prev"), chances().Draw(t, "u")); got < 0 {
			t.Fatalf("Next: %v", got)
		}
		// Only Base above Max is both a fault and kept as it is.
		if d := b.Delay(attempt); d < 0 || b.Validate() == nil && d > b.effective().Max {
			t.Fatalf("Delay: %v", d)
		}
	})
}

func TestValidate(t *testing.T) {
	const second = time.Second
	const jitters = "want full, equal, decorrelated, none, aws-full or aws-decorrelated"
	for _, c := range []struct {
		b    Backoff
		want []string
	}{
		{Backoff{}, nil},
		{Backoff{Base: second, Max: second, Multiplier: 1, Jitter: AWSDecorrelated}, nil},
		{Backoff{Base: 1, Max: longest, Multiplier: math.MaxFloat64}, nil},
		{Backoff{Base: -second}, []string{"Base: -1s is out of range: want > 0, or 0 for 500ms"}},
		{Backoff{Base: -second, Max: 1}, []string{"Base: -1s is out of range: want > 0, or 0 for 500ms"}},
		{Backoff{Base: 10 * second}, []string{"Max: 0, which is 8s, is out of range: want >= Base, which is 10s"}},
		{Backoff{Max: 1}, []string{"Max: 1ns is out of range: want >= Base, which is 500ms, or 0 for 8s"}},
		{Backoff{Max: -second}, []string{"Max: -1s is out of range: want >= Base, which is 500ms, or 0 for 8s"}},
		{Backoff{Multiplier: 0.9}, []string{"Multiplier: 0.9 is out of range: want >= 1 and finite, or 0 for 2"}},
		{Backoff{Multiplier: math.Inf(1)}, []string{"Multiplier: +Inf is out of range: want >= 1 and finite, or 0 for 2"}},
		{Backoff{Multiplier: math.NaN()}, []string{"Multiplier: NaN is out of range: want >= 1 and finite, or 0 for 2"}},
		{Backoff{Jitter: 6}, []string{"Jitter: Strategy(6) is unknown: " + jitters}},
		{Backoff{Base: -1, Max: -1, Multiplier: -1, Jitter: 255}, []string{
			"Base: -1ns is out of range: want > 0, or 0 for 500ms",
			"Max: -1ns is out of range: want >= Base, which is 500ms, or 0 for 8s",
			"Multiplier: -1 is out of range: want >= 1 and finite, or 0 for 2",
			"Jitter: Strategy(255) is unknown: " + jitters,
		}},
	} {
		var got []string
		if err := c.b.Validate(); err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v:\n got %q\nwant %q", c.b, got, c.want)
		}
	}
}

func TestNextDoesNotAllocate(t *testing.T) {
	for _, s := range strategies {
		b := Backoff{Jitter: s}
		if n := testing.AllocsPerRun(100, func() { b.Next(3, time.Second, 0.5) }); n != 0 {
			t.Errorf("%v: %v allocations", s, n)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, s := range strategies {
		for _, attempt := range []int{1, 3, 10_000} {
			b.Run(fmt.Sprintf("%v/attempt=%d", s, attempt), func(b *testing.B) {
				b.ReportAllocs()
				backoff := Backoff{Jitter: s}
				for b.Loop() {
					backoff.Next(attempt, time.Second, 0.5)
				}
			})
		}
	}
}
