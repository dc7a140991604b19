package interceptors_test

import (
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
)

func TestTheLastCallOptionWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		five := interceptors.WithCallPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 5}})
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc, interceptors.NoRetry(), five)
		wantAttempts(t, sc, 5)
	})
}
