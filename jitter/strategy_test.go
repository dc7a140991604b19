package jitter

import (
	"encoding"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	_ encoding.TextMarshaler   = Strategy(0)
	_ encoding.TextUnmarshaler = (*Strategy)(nil)
)

var strategies = []Strategy{Full, Equal, Decorrelated, None, AWSFull, AWSDecorrelated}

func TestApplyFormulas(t *testing.T) {
	const base, maximum, delay, prev = time.Second, 8 * time.Second, 4 * time.Second, 2 * time.Second
	for _, c := range []struct {
		s                  Strategy
		low, middle, above time.Duration // at u = 0, u = 0.5 and the limit u → 1
	}{
		{Full, 2 * time.Second, 4 * time.Second, 6 * time.Second},
		{Equal, 2 * time.Second, 3 * time.Second, 4 * time.Second},
		{Decorrelated, 0, 6 * time.Second, 8*time.Second + 1}, // reaches max
		{None, 4 * time.Second, 4 * time.Second, 4*time.Second + 1},
		{AWSFull, 0, 2 * time.Second, 4 * time.Second},
		{AWSDecorrelated, time.Second, 3500 * time.Millisecond, 6 * time.Second},
	} {
		for u, want := range map[float64]time.Duration{0: c.low, 0.5: c.middle, math.Nextafter(1, 0): c.above - 1} {
			if got := c.s.Apply(delay, prev, base, maximum, u); got != want {
				t.Errorf("%v at u = %v: %v, want %v", c.s, u, got, want)
			}
		}
	}
}

func TestApplyOddArguments(t *testing.T) {
	const second = time.Second
	for _, c := range []struct {
		name                     string
		s                        Strategy
		delay, prev, base, limit time.Duration
		u                        float64
		want                     time.Duration
	}{
		{"u below 0", Full, second, 0, second, second, -7, second / 2},
		{"u of -Inf", Full, second, 0, second, second, math.Inf(-1), second / 2},
		{"u of 1", AWSFull, second, 0, second, second, 1, second - 1},
		{"u of +Inf", AWSFull, second, 0, second, second, math.Inf(1), second - 1},
		{"u of NaN", AWSFull, second, 0, second, second, math.NaN(), second / 2},
		{"negative delay", Full, -second, 0, second, second, 0.9, 0},
		{"negative delay, none", None, -second, 0, second, second, 0.9, 0},
		{"negative max", Decorrelated, second, 0, second, -second, 0.9, 0},
		{"one nanosecond", Full, 1, 0, 1, 1, 0.9, 0},
		{"decorrelated, 3 times beyond the longest", Decorrelated, longest/3 + 1000, 0, second, longest, 0.5, 1 << 62},
		{"full beyond the longest", Full, longest, 0, second, longest, 0.9, longest},
		{"aws-decorrelated, first", AWSDecorrelated, 9 * second, 0, second, 8 * second, 0.5, 2 * second},
		{"aws-decorrelated, prev below base/3", AWSDecorrelated, second, second / 4, second, 8 * second, 0.5, second},
		{"aws-decorrelated, base above max", AWSDecorrelated, second, 0, 9 * second, 8 * second, 0, 8 * second},
		{"no strategy counts as full", Strategy(42), second, 0, second, second, 0, second / 2},
	} {
		if got := c.s.Apply(c.delay, c.prev, c.base, c.limit, c.u); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// durations draws the ordinary, and what is near a place where sums, products or
// floats give out: 0, the longest and a third of it, powers of two.
func durations() *rapid.Generator[time.Duration] {
	edge := rapid.Custom(func(t *rapid.T) time.Duration {
		edges := []time.Duration{0, longest / 3, longest / 2, longest, 1 << rapid.IntRange(50, 62).Draw(t, "bit")}
		d := rapid.SampledFrom(edges).Draw(t, "edge")
		// Wrapping is welcome: negative durations are to be had too.
		return d + time.Duration(rapid.Int64Range(-1000, 1000).Draw(t, "offset"))
	})
	ordinary := rapid.Map(rapid.Int64Range(0, int64(48*time.Hour)), func(n int64) time.Duration { return time.Duration(n) })
	return rapid.OneOf(edge, ordinary, rapid.Map(rapid.Int64(), func(n int64) time.Duration { return time.Duration(n) }))
}

var oddChances = []float64{0, 0.5, math.Nextafter(1, 0), 1, -1, math.NaN(), math.Inf(1), math.Inf(-1)}

func chances() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64Range(0, math.Nextafter(1, 0)), rapid.SampledFrom(oddChances))
}

// bounds says in whole numbers of any size where a strategy's delay must lie:
// at least low, below high unless the interval is empty, at most ceiling.
func bounds(s Strategy, delay, prev, base, limit time.Duration) (low, high, ceiling *big.Int) {
	whole := func(d time.Duration) *big.Int { return big.NewInt(int64(max(d, 0))) }
	times := func(n int64, d time.Duration) *big.Int { return new(big.Int).Mul(big.NewInt(n), whole(d)) }
	half := new(big.Int).Div(whole(delay), big.NewInt(2))
	low, high, ceiling = new(big.Int), whole(delay), whole(longest)
	switch s {
	case Full:
		low, high = half, new(big.Int).Add(half, whole(delay))
	case Equal:
		low = half
	case Decorrelated:
		high, ceiling = times(3, delay), whole(limit)
	case None:
		low, high = whole(delay), new(big.Int).Add(whole(delay), big.NewInt(1))
	case AWSDecorrelated:
		if prev <= 0 {
			prev = base
		}
		low, high, ceiling = whole(base), times(3, prev), whole(limit)
	}
	return low, high, ceiling
}

func TestApplyStaysInBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		delay, prev := durations().Draw(t, "delay"), durations().Draw(t, "prev")
		base, limit := durations().Draw(t, "base"), durations().Draw(t, "max")
		for _, u := range append(slices.Clone(oddChances), rapid.Float64Range(0, 1).Draw(t, "u")) {
			for _, s := range strategies {
				got := big.NewInt(int64(s.Apply(delay, prev, base, limit, u)))
				low, high, ceiling := bounds(s, delay, prev, base, limit)
				if high.Cmp(low) <= 0 { // nothing to draw from: only the lower end
					high = new(big.Int).Add(low, big.NewInt(1))
				}
				if low.Cmp(ceiling) > 0 {
					low = ceiling
				}
				if got.Cmp(low) < 0 || got.Cmp(high) >= 0 || got.Cmp(ceiling) > 0 {
					t.Fatalf("%v at u = %v: %v ns is not in [%v, %v), or above %v", s, u, got, low, high, ceiling)
				}
			}
		}
	})
}

func TestApplyGrowsWithChance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		delay, prev := durations().Draw(t, "delay"), durations().Draw(t, "prev")
		base, limit := durations().Draw(t, "base"), durations().Draw(t, "max")
		us := rapid.SliceOfN(rapid.Float64Range(0, 1), 2, 10).Draw(t, "u")
		slices.Sort(us)
		for _, s := range strategies {
			before := time.Duration(0)
			for _, u := range us {
				got := s.Apply(delay, prev, base, limit, u)
				if got < before {
					t.Fatalf("%v: %v at u = %v, but %v at a smaller one", s, got, u, before)
				}
				before = got
			}
		}
	})
}

// TestApplyDistribution holds 20 000 delays of each strategy against the exact
// uniform distribution: mean, and the Kolmogorov-Smirnov distance at 1 %.
func TestApplyDistribution(t *testing.T) {
	const (
		n                       = 20_000
		base, delay, prev, none = 1.0, 4.0, 2.0, 1e9
	)
	seconds := func(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
	for _, c := range []struct {
		s                Strategy
		low, high, limit float64 // seconds
	}{
		{Full, 2, 6, 4}, // exceeds max by half
		{Equal, 2, 4, 4},
		{Decorrelated, 0, 12, none},
		{Decorrelated, 0, 12, 8}, // a third of the draws meet the cap
		{AWSFull, 0, 4, 4},
		{AWSDecorrelated, 1, 6, none},
		{AWSDecorrelated, 1, 6, 5},
	} {
		chance := rand.New(rand.NewPCG(1, 2))
		sample := make([]float64, n)
		sum := 0.0
		for i := range sample {
			sample[i] = c.s.Apply(seconds(delay), seconds(prev), seconds(base), seconds(c.limit), chance.Float64()).Seconds()
			sum += sample[i]
		}
		slices.Sort(sample)

		top, width := c.high, c.high-c.low
		if c.s == Decorrelated || c.s == AWSDecorrelated {
			top = min(c.high, c.limit)
		}
		distance := 0.0
		for i, x := range sample {
			if x >= top {
				break // what lies at the cap is an atom, counted below
			}
			exact := (x - c.low) / width
			distance = max(distance, math.Abs(exact-float64(i)/n), math.Abs(exact-float64(i+1)/n))
		}
		if critical := 1.63 / math.Sqrt(n); distance > critical {
			t.Errorf("%v, max %v: Kolmogorov-Smirnov distance %.4f, want <= %.4f", c.s, c.limit, distance, critical)
		}
		below := (top - c.low) / width // share of draws below the cap
		mean := below*(c.low+top)/2 + (1-below)*top
		if got := sum / n; math.Abs(got-mean) > 4*width/math.Sqrt(12*n) {
			t.Errorf("%v, max %v: mean %.4f s, want %.4f s", c.s, c.limit, got, mean)
		}
		if sample[0] < c.low || sample[n-1] > top {
			t.Errorf("%v, max %v: [%v, %v] leaves [%v, %v]", c.s, c.limit, sample[0], sample[n-1], c.low, top)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	if len(strategies) != len(names) {
		t.Fatalf("the tests know %d strategies of %d", len(strategies), len(names))
	}
	for _, s := range strategies {
		if got, err := Parse(s.String()); got != s || err != nil {
			t.Errorf("Parse(%q) = %v, %v", s, got, err)
		}
		text, err := json.Marshal(map[string]Strategy{"jitter": s})
		if err != nil {
			t.Fatal(err)
		}
		back := map[string]Strategy{}
		if err := json.Unmarshal(text, &back); err != nil || back["jitter"] != s {
			t.Errorf("%s gave back %v, %v", text, back["jitter"], err)
		}
	}
}

func TestTextFaults(t *testing.T) {
	const allowed = "want full, equal, decorrelated, none, aws-full or aws-decorrelated"
	for _, name := range []string{"", "Full", " full", "fulljitter", "Strategy(0)"} {
		s := Equal
		err := s.UnmarshalText([]byte(name))
		if err == nil || !strings.Contains(err.Error(), `"`+name+`"`) || !strings.HasSuffix(err.Error(), allowed) {
			t.Errorf("UnmarshalText(%q): %v, want the value and %q", name, err, allowed)
		}
		if s != Equal {
			t.Errorf("UnmarshalText(%q) changed the strategy to %v", name, s)
		}
	}
	if got := Strategy(42).String(); got != "Strategy(42)" {
		t.Errorf("String of no strategy: %q", got)
	}
	if text, err := Strategy(42).MarshalText(); err == nil || !strings.HasPrefix(err.Error(), "Strategy(42)") {
		t.Errorf("MarshalText of no strategy: %q, %v", text, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range strategies {
		f.Add(s.String())
	}
	f.Add("")
	f.Add("FULL")
	f.Fuzz(func(t *testing.T, name string) {
		parsed, err := Parse(name)
		if known := slices.Contains(names[:], name); known != (err == nil) {
			t.Fatalf("Parse(%q): %v", name, err)
		}
		if err == nil && parsed.String() != name {
			t.Fatalf("Parse(%q) = %v", name, parsed)
		}
		var s Strategy
		if textErr := s.UnmarshalText([]byte(name)); (textErr == nil) != (err == nil) || s != parsed {
			t.Fatalf("UnmarshalText(%q) = %v, %v; Parse %v, %v", name, s, textErr, parsed, err)
		}
	})
}
