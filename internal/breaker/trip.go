package breaker

import "time"

// detector judges the calls of a closed breaker by three measures, of which
// each sees what the others miss: failures in a row, for a server that is
// gone; the share of failures in the window, for one that has long been bad;
// and between them the balance, for one that has just become bad, at any rate
// of calls.
//
// The balance is Page's cumulative sum (CUSUM, 1954): a failure adds one, a
// success takes off its weight, and below zero it does not go, so that a good
// past buys no credit. It drifts up where more than a share of calls fail that
// lies below FailureRate (4 in 9 for the default of a half), and is drawn to
// zero where fewer do.
type detector struct {
	window      window
	row         int           // failures since the last success
	vain        time.Duration // the longest that one of them had waited; never: one had not
	balance     float64
	balanceVain time.Duration // as vain, of the failures since it was zero
}

const (
	// leniency is the weight of a success, as a share of the weight at which
	// calls that fail at FailureRate would neither raise nor lower the balance.
	leniency = 4.0 / 5
	// patience is the balance that opens the breaker, in multiples of
	// Consecutive: by that it is the slower of the two.
	patience = 2
	// rounding is what sums of weights may be off.
	rounding = 1e-9
)

func newDetector(cfg *Config) detector { return detector{window: newWindow(cfg.Window)} }

// succeeded books n successes, except in the window, which needs their times.
// That it takes many at once is why callers may buffer them: as all pull one
// way, nothing is lost by stopping at zero once instead of n times.
func (d *detector) succeeded(cfg *Config, n uint64) {
	if n == 0 {
		return
	}
	d.row, d.vain = 0, 0
	if d.balance = max(0, d.balance-float64(n)*cfg.weight()); d.balance == 0 {
		d.balanceVain = 0
	}
}

// add books a call, and says what it gives reason for. waited is as in
// [Machine.SettleAfter].
func (d *detector) add(now time.Duration, cfg *Config, o Outcome, waited time.Duration) Reason {
	d.window.add(now, o)
	if o.failed() {
		if waited <= 0 {
			waited = never
		}
		d.vain, d.balanceVain = max(d.vain, waited), max(d.balanceVain, waited)
		d.row++
		d.balance++
	} else {
		d.succeeded(cfg, 1)
		if !o.slow() {
			return None
		}
	}
	return d.verdict(now, cfg)
}

// waited is how long the longest of the calls has waited that gave reason to open;
// never: one failed otherwise; 0: they did not fail.
func (d *detector) waited(why Reason) time.Duration {
	switch why {
	case Consecutive:
		return d.vain
	case FailureRate, Balance:
		return d.balanceVain
	}
	return 0
}

func (d *detector) verdict(now time.Duration, cfg *Config) Reason {
	if d.row >= cfg.Consecutive {
		return Consecutive
	}
	seen := d.window.sum(now)
	calls := float64(seen.calls)
	enough := seen.calls >= uint64(cfg.MinCalls)
	switch {
	case enough && float64(seen.failed) >= cfg.FailureRate*calls:
		return FailureRate
	case d.balance >= cfg.limit()-rounding:
		return Balance
	case enough && float64(seen.slow) >= cfg.SlowRate*calls:
		return SlowRate
	}
	return None
}

// weight is what a success takes off the balance. If only failures alone are
// to open the breaker it is infinite: one clears all.
func (c *Config) weight() float64 { return leniency * c.FailureRate / (1 - c.FailureRate) }

// limit is the balance that opens the breaker. Whoever asks for more failures
// in a row, or for more calls before a rate counts, gets a higher one.
func (c *Config) limit() float64 {
	return max(patience*float64(c.Consecutive), c.FailureRate*float64(c.MinCalls))
}
