package interceptors_test

import (
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// TestPoliciesAreCopied: what a caller does to its policy later is its own
// affair.
func TestPoliciesAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := interceptors.Policy{Retry: interceptors.Retry{
			PerCode: map[codes.Code]jitter.Backoff{codes.Unavailable: {Base: ms, Jitter: jitter.None}},
		}}
		forAll, forOne := interceptors.WithPolicy(p), interceptors.WithCallPolicy(p)
		p.Retry.PerCode[codes.Unavailable] = jitter.Backoff{Base: time.Hour, Max: time.Hour}
		s := newSuite(t, forAll)
		for _, opts := range [][]grpc.CallOption{nil, {forOne}} {
			start := time.Now()
			_ = call(s, play(fails(codes.Unavailable)), opts...)
			if took := time.Since(start); took != 3*ms {
				t.Errorf("took %v, want 1 ms and 2 ms", took)
			}
		}
	})
}
