package chaos

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// running is a plan that is on.
type running struct {
	injector *Injector
	begin    time.Time
	length   time.Duration // of the window
	seed     uint64
	faults   []*fault
	end      *time.Timer
	over     chan struct{} // closed when it ends
}

// fault is a fault of a plan that is on, ready to be met.
type fault struct {
	Fault
	err      error // of Status, Unsent and Reset
	trailer  metadata.MD
	attempts atomic.Uint64 // that it concerned
	drawn    atomic.Uint64 // that met it
	total    *atomic.Uint64
}

func newFault(f Fault, total *atomic.Uint64) *fault {
	r := &fault{Fault: f, total: total}
	code, message := codes.Unavailable, "chaos: "+f.Kind.String()
	if f.Kind == Status {
		code = f.Code
		if f.Message != "" {
			message = f.Message
		}
		r.trailer = metadata.Pairs("content-type", "application/grpc") // as a server's that answers at once
		if f.Pushback != 0 {
			r.trailer.Set("grpc-retry-pushback-ms", strconv.FormatInt(max(f.Pushback.Milliseconds(), -1), 10))
		}
	}
	s := status.New(code, message)
	var details []protoadapt.MessageV1
	if f.RetryInfo > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.RetryInfo)})
	}
	for _, d := range f.Details {
		details = append(details, protoadapt.MessageV1Of(d))
	}
	if with, err := s.WithDetails(details...); err == nil {
		s = with
	}
	r.err = s.Err()
	return r
}

// draw returns how an attempt ends, nil if as it will, and how long it is to wait
// first. u is for what else chance decides.
func (r *running) draw(method string) (end *fault, wait time.Duration, u uint64) {
	var at time.Duration = -1
	for i, f := range r.faults {
		if !matches(f.Method, method) {
			continue
		}
		if at < 0 {
			at = time.Since(r.begin)
			if at < 0 || at >= r.length {
				return nil, 0, 0 // not in the window
			}
		}
		if at < f.From || f.For > 0 && at >= f.From+f.For {
			continue
		}
		h := mix(r.seed ^ mix(uint64(i)<<32^f.attempts.Add(1)))
		if float64(h>>11)/(1<<53) >= f.Share {
			continue
		}
		h = mix(h)
		r.met(f, method)
		if f.Kind != Latency {
			return f, wait, h
		}
		wait += f.Latency + time.Duration(float64(h>>11)/(1<<53)*float64(f.Spread))
	}
	return nil, wait, 0
}

// met counts and reports an injection.
func (r *running) met(f *fault, method string) {
	f.total.Add(1)
	i := r.injector
	if f.drawn.Add(1) == 1 {
		i.log().Warn("astra: chaos: fault injected for the first time", "method", method, "pattern", f.Method, "fault", f.Kind.String(), "share", f.Share)
	}
	if i.hook != nil {
		i.hook(Injection{Method: method, Pattern: f.Method, Kind: f.Kind})
	}
}

// mix is the finalizer of SplitMix64: of nearby numbers it makes unrelated ones.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// delay waits for d, or until the plan or the context ends; an error says that
// the context has.
func (r *running) delay(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.over:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	return nil
}

// hang waits until the plan or the context ends; an error says that the context
// has.
func (r *running) hang(ctx context.Context) error {
	select {
	case <-r.over:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
