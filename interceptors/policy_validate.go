package interceptors

import (
	"errors"
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

// Fault is something wrong with a policy. [New], [Suite.Reload] and
// [Policy.Validate] join one for each; errors.As finds them.
type Fault struct {
	Policy  string // whose: "policy /pkg.Service/*"; "" if that is known
	Field   string // its path: "Retry.MaxAttempts", "Retry.PerCode[NOT_FOUND].Base"
	Problem string // its value and the allowed range
}

func (f *Fault) Error() string {
	if f.Policy == "" {
		return f.Field + ": " + f.Problem
	}
	return f.Policy + ": " + f.Field + ": " + f.Problem
}

// Validate returns every fault of the policy, each a [*Fault], joined; nil if
// there is none.
func (p Policy) Validate() error { return errors.Join(p.validate("")...) }

// faults collects what is wrong with a part of a policy.
type faults struct {
	policy string
	path   string // of the struct being checked: "Retry."
	errs   []error
}

func (f *faults) add(field string, value any, want string) {
	f.say(field, fmt.Sprintf("%v is out of range: want %s", value, want))
}

func (f *faults) say(field, problem string) {
	f.errs = append(f.errs, &Fault{f.policy, f.path + field, problem})
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
		{"Hedge.", p.validateHedge},
		{"Breaker.", p.Breaker.validate},
		{"Budget.", p.Budget.validate},
		{"Limit.", p.Limit.validate},
		{"", p.validateTimeouts},
	} {
		f := faults{policy: name, path: section.name}
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
	if r.Repeat > RepeatAny {
		f.add("Repeat", uint8(r.Repeat), "RepeatAuto, RepeatUnsent, RepeatAnswered or RepeatAny")
	}
	codeSet(f, "Codes", r.Codes)
	codeSet(f, "IdempotentCodes", r.IdempotentCodes)
	r.validateBackoff(f, "Backoff", r.Backoff)

	retried := r.Codes
	if retried == 0 {
		retried = astracodes.Retryable
	}
	retried |= r.IdempotentCodes
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
			own, problem, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			f.say(field+"."+own, problem)
		}
	}
}

// maxHedgeAttempts bounds what one call may have in flight.
const maxHedgeAttempts = 10

func (p Policy) validateHedge(f *faults) {
	h := p.Hedge
	countUpTo(f, "MaxAttempts", h.MaxAttempts, maxHedgeAttempts)
	if h.on() && p.Retry.on() {
		f.add("MaxAttempts", h.MaxAttempts, "0 or 1 beside a Retry that is set: a call is hedged or retried, not both")
	}
	durationRange(f, "Delay", h.Delay, 1, math.MaxInt64)
	if h.NonFatal.Validate() != nil {
		f.add("NonFatal", fmt.Sprintf("%#x", uint32(h.NonFatal)), "only bits of the 17 codes, as codes.Of makes them")
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
	shareUpTo(f, "ProbeShare", b.ProbeShare, 1)
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
	countUpTo(f, "MaxConcurrent", l.MaxConcurrent, 1e6)
	countUpTo(f, "MaxQueue", l.MaxQueue, 1e6)
	durationRange(f, "MaxWait", l.MaxWait, 1, math.MaxInt64)
	shareUpTo(f, "Rate", l.Rate, 1e9)
	countUpTo(f, "Burst", l.Burst, maxBurst)

	bounds := l.MaxConcurrent != 0 || l.Rate != 0
	if l.Adaptive && l.MaxConcurrent < 1 {
		f.add("Adaptive", true, "false without MaxConcurrent: it is the most that the limit may become")
	}
	if l.MaxQueue > 0 && !bounds {
		f.add("MaxQueue", l.MaxQueue, "0 while MaxConcurrent and Rate are 0: there is nothing to wait for")
	}
	if l.MaxWait > 0 && l.MaxQueue == 0 {
		f.add("MaxWait", l.MaxWait, "0 while MaxQueue is 0: no call waits")
	}
	if l.Burst > 0 && l.Rate == 0 {
		f.add("Burst", l.Burst, "0 while Rate is 0: there is no rate to exceed")
	}
}

// maxBurst bounds Limit.Burst, also where a Rate implies it.
const maxBurst = 1e6

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
