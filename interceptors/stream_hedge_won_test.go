package interceptors_test

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestHedgedStreamIsCommittedByItsContext: who has been given an attempt's context has that
// attempt, however long it takes and however it ends, as with a stream that is not hedged.
func TestHedgedStreamIsCommittedByItsContext(t *testing.T) {
	for _, tc := range []struct {
		name string
		step flakyserver.Step
		want codes.Code
	}{
		{"silent beyond AttemptTimeout", flakyserver.OK().After(50 * ms), codes.OK},
		{"fails", flakyserver.Fail(codes.Unavailable, "scripted").After(10 * ms), codes.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hedgedStreams(t, interceptors.Policy{AttemptTimeout: 30 * ms}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
				s.Script(helloServer, tc.step, flakyserver.OK())
				stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
				if err != nil {
					t.Fatal(err)
				}
				_ = stream.Context()
				got, err := all(stream)
				if wantCode(t, err, tc.want); err == nil && !slices.Equal(got, greetings) {
					t.Errorf("received %q", got)
				}
				if n := s.Stats(helloServer).Attempts; n != 1 {
					t.Errorf("%d attempts, want 1", n)
				}
			})
		})
	}
}
