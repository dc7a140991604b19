package lab

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Failing has a server fail one call in so many. Retries are not counted and do not
// fail: so both sides meet the same number of failures, however often each tries,
// and are compared at equal numbers of successes.
type Failing struct {
	OneIn uint64 // 0: none fails
	calls atomic.Uint64
}

// Next returns how the request of ctx fails; nil: it is to be served.
func (f *Failing) Next(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if f.OneIn == 0 || len(md["grpc-previous-rpc-attempts"]) > 0 || f.calls.Add(1)%f.OneIn != 0 {
		return nil
	}
	return status.Error(codes.Unavailable, "not now")
}
