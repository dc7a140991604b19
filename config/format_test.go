package config_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// TestFormatIsReadBack: a policy as a suite shows it is one of a file, which makes
// a suite show the same.
func TestFormatIsReadBack(t *testing.T) {
	for name, p := range map[string]interceptors.Policy{
		"default": {},
		"much": {
			Retry: interceptors.Retry{MaxAttempts: 4, Backoff: jitter.Backoff{Base: 1500 * time.Microsecond, Jitter: jitter.AWSFull}, Codes: astracodes.Of(codes.Aborted),
				PerCode: map[codes.Code]jitter.Backoff{codes.ResourceExhausted: {Base: time.Second}, codes.Aborted: {Multiplier: 3}}, Repeat: interceptors.RepeatUnsent},
			Breaker: interceptors.Breaker{Mode: interceptors.ModeObserve, SlowCall: time.Second, FailureRate: 1e-7},
			Limit:   interceptors.Limit{Mode: interceptors.ModeObserve, MaxConcurrent: 10, Adaptive: true, Rate: 1e6},
			Timeout: 90 * time.Minute, AttemptTimeout: time.Minute,
		},
		"hedged":   {Hedge: interceptors.Hedge{MaxAttempts: 3, NonFatal: astracodes.Of(codes.OK)}},
		"disabled": {Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true}, Retry: interceptors.Retry{MaxAttempts: 1}},
	} {
		for _, pattern := range []string{"*", "/s.S/*", "/s.S/Get"} {
			given := interceptors.WithMethodPolicy(pattern, p)
			if pattern == "*" {
				given = interceptors.WithPolicy(p)
			}
			before := explained(t, given)
			text := "methodConfig:\n" + config.Format(pattern, before)
			opts, err := config.Parse([]byte(text))
			if err != nil {
				t.Fatalf("%s:\n%s%v", name, text, err)
			}
			after := explained(t, opts...)
			if a, b := config.Format(pattern, before), config.Format(pattern, after); a != b {
				t.Errorf("%s: wrote\n%sread\n%s", name, a, b)
			}
		}
	}
}

func explained(t *testing.T, opts ...interceptors.Option) interceptors.Policy {
	t.Helper()
	s, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	return s.Explain("", "/s.S/Get").Policy.Policy.Policy
}
