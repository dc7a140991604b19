package interceptors_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

func wantFault(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("no fault says %q in:\n%v", part, err)
	}
}

// faultyEverywhere has a fault in every field that can have one.
func faultyEverywhere() interceptors.Policy {
	return interceptors.Policy{
		Retry: interceptors.Retry{
			MaxAttempts: 101,
			Repeat:      9,
			Backoff:     jitter.Backoff{Base: -1, Multiplier: 0.5, Jitter: 99},
			Codes:       astracodes.Of(codes.OK),

			IdempotentCodes: astracodes.Of(codes.OK),

			PerCode:     map[codes.Code]jitter.Backoff{codes.NotFound: {Max: -1}},
			BufferBytes: -1,
		},
		Hedge: interceptors.Hedge{MaxAttempts: 11, Delay: -1, NonFatal: 1 << 20},
		Breaker: interceptors.Breaker{
			Mode: 9, FailureRate: 1.5, MinCalls: -1, Window: time.Millisecond, Consecutive: -1, SlowCall: -1, SlowRate: math.NaN(),
			OpenFor: time.Nanosecond, MaxOpenFor: -1, ProbeShare: 1.5, Probes: 1001, Failures: 1 << 20,
		},
		Budget:         interceptors.Budget{Ratio: -0.1, MinPerSecond: math.Inf(1), Burst: 0.5},
		Limit:          interceptors.Limit{Mode: 9, MaxConcurrent: -1, MaxQueue: -1, MaxWait: -1, Rate: -1, Burst: -1, Adaptive: true},
		Timeout:        -1,
		AttemptTimeout: -1,
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	_, err := interceptors.New(
		interceptors.WithMethodPolicy("/a.B/*", faultyEverywhere()),
		interceptors.WithMethodPolicy("a.B/C", interceptors.Policy{}),
		interceptors.WithMethodPolicy("/a.B/C", interceptors.Policy{Timeout: time.Second, AttemptTimeout: 2 * time.Second}),
		interceptors.WithMethodPolicy("/a.B/C", interceptors.Policy{}),
		interceptors.WithFallback("/a.*/C", nil),
		interceptors.WithObserver(nil),
		nil,
	)
	for _, part := range []string{
		"policy /a.B/*: Retry.Repeat: 9 is out of range: want RepeatAuto",
		"policy /a.B/*: Retry.MaxAttempts: 101 is out of range: want from 1 to 100",
		"policy /a.B/*: Retry.Backoff.Base: -1ns",
		"policy /a.B/*: Retry.Backoff.Multiplier: 0.5",
		"policy /a.B/*: Retry.Backoff.Jitter:",
		"policy /a.B/*: Retry.Codes: OK",
		"policy /a.B/*: Retry.IdempotentCodes: OK",
		"policy /a.B/*: Retry.PerCode[NOT_FOUND]:",
		"policy /a.B/*: Retry.PerCode[NOT_FOUND].Max: -1ns",
		"policy /a.B/*: Retry.BufferBytes: -1",
		"policy /a.B/*: Hedge.MaxAttempts: 11 is out of range: want from 1 to 10",
		"policy /a.B/*: Hedge.MaxAttempts: 11 is out of range: want 0 or 1 beside a Retry that is set",
		"policy /a.B/*: Hedge.Delay: -1ns",
		"policy /a.B/*: Hedge.NonFatal: 0x100000",
		"policy /a.B/*: Breaker.FailureRate: 1.5 is out of range: want above 0, up to 1",
		"policy /a.B/*: Breaker.MinCalls: -1",
		"policy /a.B/*: Breaker.Window: 1ms is out of range: want from 10ms to 1h0m0s",
		"policy /a.B/*: Breaker.Consecutive: -1",
		"policy /a.B/*: Breaker.SlowCall: -1ns",
		"policy /a.B/*: Breaker.SlowRate: NaN",
		"policy /a.B/*: Breaker.OpenFor: 1ns",
		"policy /a.B/*: Breaker.MaxOpenFor: -1ns",
		"policy /a.B/*: Breaker.ProbeShare: 1.5 is out of range: want above 0, up to 1",
		"policy /a.B/*: Breaker.Probes: 1001",
		"policy /a.B/*: Breaker.Failures: 0x100000",
		"policy /a.B/*: Budget.Ratio: -0.1",
		"policy /a.B/*: Budget.MinPerSecond: +Inf",
		"policy /a.B/*: Budget.Burst: 0.5",
		"policy /a.B/*: Limit.MaxConcurrent: -1",
		"policy /a.B/*: Limit.MaxQueue: -1",
		"policy /a.B/*: Limit.MaxWait: -1ns",
		"policy /a.B/*: Limit.Rate: -1",
		"policy /a.B/*: Limit.Burst: -1",
		"policy /a.B/*: Limit.Adaptive: true is out of range: want false without MaxConcurrent",
		"policy /a.B/*: Timeout: -1ns",
		"policy /a.B/*: AttemptTimeout: -1ns",
		`policy: pattern "a.B/C" is invalid`,
		"policy /a.B/C: AttemptTimeout: 2s is out of range: want <= Timeout, which is 1s",
		`policy: pattern "/a.B/C" is given twice`,
		"fallback /a.*/C: must not be nil",
		"observer 0: must not be nil",
		"option: must not be nil",
	} {
		wantFault(t, err, part)
	}
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 44 {
		t.Errorf("want 44 faults joined, each its own error:\n%v", err)
	}
}

// TestFieldErrors: what the text says, the error's fields say one by one, also of
// faults that are a backoff's own.
func TestFieldErrors(t *testing.T) {
	err := interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: 101, PerCode: map[codes.Code]jitter.Backoff{codes.Unavailable: {Base: 10 * time.Second}}},
		Breaker: interceptors.Breaker{OpenFor: time.Minute, MaxOpenFor: time.Second},
	}.Validate()
	for i, want := range []struct {
		field        string
		value        any
		want, zeroIs string
		depends      []string
	}{
		{"Retry.MaxAttempts", 101, "from 1 to 100", "the default", nil},
		{"Retry.PerCode[UNAVAILABLE].Max", time.Duration(0), ">= Base, which is 10s", "8s", []string{"Retry.PerCode[UNAVAILABLE].Base"}},
		{"Breaker.MaxOpenFor", time.Second, "from OpenFor, which is 1m0s, to 24h", "the default", []string{"Breaker.OpenFor"}},
	} {
		var got *interceptors.FieldError
		if !errors.As(err.(interface{ Unwrap() []error }).Unwrap()[i], &got) {
			t.Fatalf("fault %d is no FieldError: %v", i, err)
		}
		if got.Field != want.field || got.Value != want.value || got.Problem != "is out of range" || got.Want != want.want ||
			got.ZeroIs != want.zeroIs || !slices.Equal(got.Depends, want.depends) {
			t.Errorf("fault %d: %+v, want %+v", i, got, want)
		}
	}
}

// TestEveryFieldIsChecked: a field added to Policy must be added to the
// validation too, or the test above would not see its fault.
func TestEveryFieldIsChecked(t *testing.T) {
	var walk func(path string, v reflect.Value)
	_, err := interceptors.New(interceptors.WithPolicy(faultyEverywhere()))
	walk = func(path string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := strings.TrimPrefix(path+"."+f.Name, ".")
			switch {
			case f.Name == "Disabled", name == "Retry.Backoff.Max": // no faulty value; hidden behind Base's
			case f.Type.Kind() == reflect.Struct:
				walk(name, v.Field(i))
			default:
				wantFault(t, err, "policy *: "+name)
			}
		}
	}
	walk("", reflect.ValueOf(interceptors.Policy{}))
}

// TestLimitsNeighbours: what has no effect without another field is a fault,
// one each, and with it is none.
func TestLimitsNeighbours(t *testing.T) {
	_, err := interceptors.New(
		interceptors.WithPolicy(interceptors.Policy{Limit: interceptors.Limit{MaxQueue: 1, MaxWait: 1, Burst: 1, Adaptive: true}}),
		interceptors.WithMethodPolicy("/a.B/*", interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 1, MaxWait: 1}}),
	)
	for _, part := range []string{
		"policy *: Limit.MaxQueue: 1 is out of range: want 0 while MaxConcurrent and Rate are 0",
		"policy *: Limit.Burst: 1 is out of range: want 0 while Rate is 0",
		"policy *: Limit.Adaptive: true is out of range: want false without MaxConcurrent",
		"policy /a.B/*: Limit.MaxWait: 1ns is out of range: want 0 while MaxQueue is 0",
	} {
		wantFault(t, err, part)
	}
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 4 {
		t.Errorf("want 4 faults, got:\n%v", err)
	}
	for _, l := range []interceptors.Limit{
		{MaxConcurrent: 1, MaxQueue: 1, MaxWait: 1},
		{Rate: 1, Burst: 1, MaxQueue: 1},
		{MaxConcurrent: 1, Adaptive: true},
		{Rate: 1e-9},
		{Rate: 1e9},
	} {
		if err := (interceptors.Policy{Limit: l}).Validate(); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

func TestValidPolicies(t *testing.T) {
	for name, p := range map[string]interceptors.Policy{
		"zero":                  {},
		"one attempt":           {Retry: interceptors.Retry{MaxAttempts: 1}},
		"short open time":       {Breaker: interceptors.Breaker{OpenFor: 10 * time.Millisecond}},
		"open for minutes":      {Breaker: interceptors.Breaker{OpenFor: 5 * time.Minute}},
		"hedge of one":          {Hedge: interceptors.Hedge{MaxAttempts: 1}},
		"attempt as long as it": {Timeout: time.Second, AttemptTimeout: time.Second},
		"patience when limited": {Retry: interceptors.Retry{PerCode: map[codes.Code]jitter.Backoff{codes.ResourceExhausted: {}}}},
		"the other codes":       {Retry: interceptors.Retry{Codes: astracodes.Of(codes.Aborted), PerCode: map[codes.Code]jitter.Backoff{codes.Aborted: {}}}},
	} {
		if _, err := interceptors.New(interceptors.WithPolicy(p)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, seed := range []string{"*", "/a.B/C", "/a.B/*", "", "/", "//", "/*/*", "/a/b/c", "a", "/a.B/C*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		s, err := interceptors.New(interceptors.WithMethodPolicy(pattern, interceptors.Policy{}))
		if (s == nil) == (err == nil) {
			t.Fatal("want a suite or a fault")
		}
	})
}
