package interceptors

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/field"
	"github.com/astra-grpc/astra/jitter"
)

// FieldError is one thing that is wrong with a policy: its Field, a path, holds
// a Value that is not what it should Want. [New], [Suite.Reload] and
// [Policy.Validate] join one for each, as a *FieldError, which errors.As finds;
// [Policy.Warnings] returns those that forbid nothing. It may be read from any
// goroutine, and must not be changed. Its Error is all of it in a line; its
// Naming returns the same with other names for the fields of Depends, its Held
// the value as text.
//
//	Policy   "policy /pkg.Service/*", "call policy"; "" if it is not known whose it is
//	Field    "Retry.MaxAttempts", "Retry.PerCode[NOT_FOUND].Base"
//	Value    what it holds; nil if the problem is not its value
//	Problem  what is wrong: "is out of range"
//	Want     what is allowed: "from 1 to 100"; "" of a warning
//	ZeroIs   what zero, allowed besides, stands for: "the default"; "" if it is not
//	Depends  paths of other fields that Problem and Want name: "Breaker.OpenFor"
type FieldError = field.Error

// Validate returns every fault of the policy, each a [*FieldError], joined; nil
// if there is none.
func (p Policy) Validate() error { return errors.Join(p.validate("")...) }

// ref names a field of a policy in the text of a fault, by its path.
type ref = field.Ref

// faults collects what is wrong with a part of a policy.
type faults struct {
	policy string
	path   string // of the struct being checked: "Retry."
	errs   []error
}

func (f *faults) add(name string, value any, zeroIs, format string, args ...any) {
	e := field.OutOfRange(f.path+name, value, zeroIs, format, args...)
	e.Policy = f.policy
	f.errs = append(f.errs, e)
}

// validate returns every fault of the policy. name says which policy it is:
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
		f.add("Timeout", p.Timeout, "none", "> 0")
	}
	switch {
	case p.AttemptTimeout < 0:
		f.add("AttemptTimeout", p.AttemptTimeout, "none", "> 0")
	case p.Timeout > 0 && p.AttemptTimeout > p.Timeout:
		f.add("AttemptTimeout", p.AttemptTimeout, "", "<= %v, which is %v", ref("Timeout"), p.Timeout)
	}
}

func (r Retry) validate(f *faults) {
	countUpTo(f, "MaxAttempts", r.MaxAttempts, 100)
	countUpTo(f, "BufferBytes", r.BufferBytes, math.MaxInt32)
	if r.Repeat > RepeatAny {
		f.add("Repeat", uint8(r.Repeat), "", "RepeatAuto, RepeatUnsent, RepeatAnswered or RepeatAny")
	}
	codeSet(f, "Codes", r.Codes)
	codeSet(f, "IdempotentCodes", r.IdempotentCodes)
	validateBackoff(f, "Backoff", r.Backoff)

	retried := r.Codes
	if retried == 0 {
		retried = astracodes.Retryable
	}
	retried |= r.IdempotentCodes
	retried = retried.With(codes.ResourceExhausted)
	for _, c := range slices.Sorted(maps.Keys(r.PerCode)) {
		name := fmt.Sprintf("PerCode[%s]", astracodes.Name(c))
		if !retried.Contains(c) {
			f.add(name, "a backoff", "", "only codes of %v, which are %v, and RESOURCE_EXHAUSTED",
				ref("Retry.Codes"), retried.Without(codes.ResourceExhausted))
		}
		validateBackoff(f, name, r.PerCode[c])
	}
}

// validateBackoff adds the backoff's own faults.
func validateBackoff(f *faults, name string, b jitter.Backoff) {
	for _, e := range field.All(b.Validate()) {
		f.errs = append(f.errs, field.Within(e, f.policy, f.path+name+"."))
	}
}

// maxHedgeAttempts bounds what one call may have in flight.
const maxHedgeAttempts = 10

func (p Policy) validateHedge(f *faults) {
	h := p.Hedge
	countUpTo(f, "MaxAttempts", h.MaxAttempts, maxHedgeAttempts)
	if h.on() && p.Retry.on() {
		f.add("MaxAttempts", h.MaxAttempts, "", "0 or 1 beside a %v that is set: a call is hedged or retried, not both", ref("Retry"))
	}
	durationRange(f, "Delay", h.Delay, 1, math.MaxInt64)
	if h.NonFatal.Validate() != nil {
		f.add("NonFatal", fmt.Sprintf("%#x", uint32(h.NonFatal)), "", "only bits of the 17 codes, as codes.Of makes them")
	}
}

func (b Breaker) validate(f *faults) {
	b.Mode.validate(f)
	shareUpTo(f, "FailureRate", b.FailureRate, 1)
	countUpTo(f, "MinCalls", b.MinCalls, math.MaxInt32)
	durationRange(f, "Window", b.Window, 10*time.Millisecond, time.Hour)
	countUpTo(f, "Consecutive", b.Consecutive, math.MaxInt32)
	durationRange(f, "SlowCall", b.SlowCall, 1, math.MaxInt64)
	shareUpTo(f, "SlowRate", b.SlowRate, 1)
	if b.SlowRate != 0 && b.SlowCall == 0 {
		f.add("SlowRate", b.SlowRate, "", "0 while %v is 0: no call is slow", ref("Breaker.SlowCall"))
	}
	durationRange(f, "OpenFor", b.OpenFor, time.Millisecond, 24*time.Hour)
	openFor := b.OpenFor
	if openFor <= 0 {
		openFor = time.Second
	}
	if b.MaxOpenFor != 0 && (b.MaxOpenFor < openFor || b.MaxOpenFor > 24*time.Hour) {
		f.add("MaxOpenFor", b.MaxOpenFor, theDefault, "from %v, which is %v, to 24h", ref("Breaker.OpenFor"), openFor)
	}
	shareUpTo(f, "ProbeShare", b.ProbeShare, 1)
	countUpTo(f, "Probes", b.Probes, 1000)
	codeSet(f, "Failures", b.Failures)
}

func (b Budget) validate(f *faults) {
	shareUpTo(f, "Ratio", b.Ratio, 10)
	shareUpTo(f, "MinPerSecond", b.MinPerSecond, 1e6)
	if b.Burst != 0 && !(b.Burst >= 1 && b.Burst <= 1e6) { // so written, NaN is a fault
		f.add("Burst", b.Burst, theDefault, "from 1 to 1e+06")
	}
}

func (l Limit) validate(f *faults) {
	l.Mode.validate(f)
	countUpTo(f, "MaxConcurrent", l.MaxConcurrent, 1e6)
	countUpTo(f, "MaxQueue", l.MaxQueue, 1e6)
	durationRange(f, "MaxWait", l.MaxWait, 1, math.MaxInt64)
	shareUpTo(f, "Rate", l.Rate, 1e9)
	countUpTo(f, "Burst", l.Burst, maxBurst)

	bounds := l.MaxConcurrent != 0 || l.Rate != 0
	if l.Adaptive && l.MaxConcurrent < 1 {
		f.add("Adaptive", true, "", "false without %v: it is the most that the limit may become", ref("Limit.MaxConcurrent"))
	}
	if l.MaxQueue > 0 && !bounds {
		f.add("MaxQueue", l.MaxQueue, "", "0 while %v and %v are 0: there is nothing to wait for",
			ref("Limit.MaxConcurrent"), ref("Limit.Rate"))
	}
	if l.MaxWait > 0 && l.MaxQueue == 0 {
		f.add("MaxWait", l.MaxWait, "", "0 while %v is 0: no call waits", ref("Limit.MaxQueue"))
	}
	if l.Burst > 0 && l.Rate == 0 {
		f.add("Burst", l.Burst, "", "0 while %v is 0: there is no rate to exceed", ref("Limit.Rate"))
	}
}

// maxBurst bounds Limit.Burst, also where a Rate implies it.
const maxBurst = 1e6

// The helpers below let zero pass, which stands for the default.

const theDefault = "the default"

func countUpTo(f *faults, name string, v, most int) {
	if v != 0 && (v < 1 || v > most) {
		f.add(name, v, theDefault, "from 1 to %d", most)
	}
}

func shareUpTo(f *faults, name string, v, most float64) {
	if v != 0 && !(v > 0 && v <= most) { // so written, NaN is a fault
		f.add(name, v, theDefault, "above 0, up to %v", most)
	}
}

func durationRange(f *faults, name string, v, from, to time.Duration) {
	if v != 0 && (v < from || v > to) {
		f.add(name, v, theDefault, "from %v to %v", from, to)
	}
}

func codeSet(f *faults, name string, s astracodes.Set) {
	switch {
	case s.Validate() != nil:
		f.add(name, fmt.Sprintf("%#x", uint32(s)), "", "only bits of the 17 codes, as codes.Of makes them")
	case s.Contains(codes.OK):
		f.add(name, s, "", "no OK: success is not a failure")
	}
}
