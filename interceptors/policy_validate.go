package interceptors

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/jitter"
)

// faults collects what is wrong with a policy, each fault with its field's
// path, value and allowed range.
type faults struct {
	path string // of the struct being checked: "policy /pkg.Service/*: Retry."
	errs []error
}

func (f *faults) add(field string, value any, want string) {
	f.errs = append(f.errs, fmt.Errorf("%s%s: %v is out of range: want %s", f.path, field, value, want))
}

// validate returns every fault of the policy. Name tells which policy it is:
// "policy *", "call policy".
func (p Policy) validate(name string) []error {
	var errs []error
	for _, section := range []struct {
		name  string
		check func(*faults)
	}{
		{"Retry.", p.Retry.validate},
		{"Hedge.", p.Hedge.validate},
		{"Breaker.", p.Breaker.validate},
		{"Budget.", p.Budget.validate},
		{"Limit.", p.Limit.validate},
		{"", p.validateTimeouts},
	} {
		f := faults{path: name + ": " + section.name}
		section.check(&f)
		errs = append(errs, f.errs...)
	}
	return errs
}

func (p Policy) validateTimeouts(f *faults) {
	if p.Timeout < 0 {
		f.add("Timeout", p.Timeout, "> 0, or 0 for none")
	}
	switch {
	case p.AttemptTimeout < 0:
		f.add("AttemptTimeout", p.AttemptTimeout, "> 0, or 0 for none")
	case p.Timeout > 0 && p.AttemptTimeout > p.Timeout:
		f.add("AttemptTimeout", p.AttemptTimeout, fmt.Sprintf("<= Timeout, which is %v", p.Timeout))
	}
}

func (r Retry) validate(f *faults) {
	countUpTo(f, "MaxAttempts", r.MaxAttempts, 100)
	countUpTo(f, "BufferBytes", r.BufferBytes, math.MaxInt32)
	codeSet(f, "Codes", r.Codes)
	r.validateBackoff(f, "Backoff", r.Backoff)

	retried := r.Codes
	if retried == 0 {
		retried = astracodes.Retryable
	}
	retried = retried.With(codes.ResourceExhausted)
	for _, c := range slices.Sorted(maps.Keys(r.PerCode)) {
		field := fmt.Sprintf("PerCode[%s]", astracodes.Name(c))
		if !retried.Contains(c) {
			f.add(field, "a backoff", "only codes of Codes, which are "+retried.Without(codes.ResourceExhausted).String()+
				", and RESOURCE_EXHAUSTED")
		}
		r.validateBackoff(f, field, r.PerCode[c])
	}
}

// validateBackoff gives the backoff's own faults, one a line, our path.
func (r Retry) validateBackoff(f *faults, field string, b jitter.Backoff) {
	if err := b.Validate(); err != nil {
		for line := range strings.Lines(err.Error()) {
			f.errs = append(f.errs, fmt.Errorf("%s%s.%s", f.path, field, strings.TrimSuffix(line, "\n")))
		}
	}
}

func (h Hedge) validate(f *faults) {
	if h.MaxAttempts != 0 && h.MaxAttempts != 1 {
		f.add("MaxAttempts", h.MaxAttempts, "0 or 1, off: this version does not hedge")
	}
	if h.Delay != 0 {
		f.add("Delay", h.Delay, "0: this version does not hedge")
	}
	if h.NonFatal != 0 {
		f.add("NonFatal", h.NonFatal, "none: this version does not hedge")
	}
}

func (b Breaker) validate(f *faults) {
	shareUpTo(f, "FailureRate", b.FailureRate, 1)
	countUpTo(f, "MinCalls", b.MinCalls, math.MaxInt32)
	durationRange(f, "Window", b.Window, 10*time.Millisecond, time.Hour)
	countUpTo(f, "Consecutive", b.Consecutive, math.MaxInt32)
	durationRange(f, "SlowCall", b.SlowCall, 1, math.MaxInt64)
	shareUpTo(f, "SlowRate", b.SlowRate, 1)
	if b.SlowRate != 0 && b.SlowCall == 0 {
		f.add("SlowRate", b.SlowRate, "0 while SlowCall is 0: no call is slow")
	}
	durationRange(f, "OpenFor", b.OpenFor, time.Millisecond, 24*time.Hour)
	openFor := b.OpenFor
	if openFor <= 0 {
		openFor = time.Second
	}
	if b.MaxOpenFor != 0 && (b.MaxOpenFor < openFor || b.MaxOpenFor > 24*time.Hour) {
		f.add("MaxOpenFor", b.MaxOpenFor, fmt.Sprintf("from OpenFor, which is %v, to 24h, or 0 for the default", openFor))
	}
	countUpTo(f, "Probes", b.Probes, 1000)
	codeSet(f, "Failures", b.Failures)
}

func (b Budget) validate(f *faults) {
	shareUpTo(f, "Ratio", b.Ratio, 10)
	shareUpTo(f, "MinPerSecond", b.MinPerSecond, 1e6)
	if b.Burst != 0 && !(b.Burst >= 1 && b.Burst <= 1e6) { // so written, NaN is a fault
		f.add("Burst", b.Burst, "from 1 to 1e+06, or 0 for the default")
	}
}

func (l Limit) validate(f *faults) {
	for _, field := range []struct {
		name  string
		value any
		set   bool
	}{
		{"MaxConcurrent", l.MaxConcurrent, l.MaxConcurrent != 0},
		{"MaxQueue", l.MaxQueue, l.MaxQueue != 0},
		{"MaxWait", l.MaxWait, l.MaxWait != 0},
		{"Rate", l.Rate, l.Rate != 0},
		{"Burst", l.Burst, l.Burst != 0},
	} {
		if field.set {
			f.add(field.name, field.value, "0: this version does not limit")
		}
	}
}

// The helpers below let zero pass, which stands for the default.

func countUpTo(f *faults, field string, v, most int) {
	if v != 0 && (v < 1 || v > most) {
		f.add(field, v, fmt.Sprintf("from 1 to %d, or 0 for the default", most))
	}
}

func shareUpTo(f *faults, field string, v, most float64) {
	if v != 0 && !(v > 0 && v <= most) { // so written, NaN is a fault
		f.add(field, v, fmt.Sprintf("above 0, up to %v, or 0 for the default", most))
	}
}

func durationRange(f *faults, field string, v, from, to time.Duration) {
	if v != 0 && (v < from || v > to) {
		f.add(field, v, fmt.Sprintf("from %v to %v, or 0 for the default", from, to))
	}
}

func codeSet(f *faults, field string, s astracodes.Set) {
	switch {
	case s.Validate() != nil:
		f.add(field, fmt.Sprintf("%#x", uint32(s)), "only bits of the 17 codes, as codes.Of makes them")
	case s.Contains(codes.OK):
		f.add(field, s, "no OK: success is not a failure")
	}
}
