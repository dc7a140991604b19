package interceptors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// errPanicked is what observers and OnFinish are told of a call whose
// interceptor, codec or credentials beneath panicked.
var errPanicked = errors.New("astra: panic or Goexit beneath the interceptor")

// unaryCall drives the engine through attempts one after another, on the
// caller's goroutine.
type unaryCall struct {
	call
	capture

	method     string
	req, reply any
	cc         *grpc.ClientConn
	invoker    grpc.UnaryInvoker
	opts       []grpc.CallOption

	// Of a call that is hedged:
	first    side
	original original
}

// unaryCalls keeps calls for reuse. Pools are per processor, and so, mostly,
// are the lanes of their calls.
var unaryCalls = sync.Pool{New: func() any {
	u := new(unaryCall)
	u.lane = lastLane.Add(1)
	return u
}}

var lastLane atomic.Uint32

func (s *Suite) unary(l *layers) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		with := readCallOptions(opts)
		if with.err != nil {
			onFinish(opts, with.err)
			return with.err
		}
		p, fresh := s.planOf(cc, method, l)
		u := unaryCalls.Get().(*unaryCall)
		u.suite, u.plan, u.ctx = s, p, ctx
		u.policy = with.apply(p)
		u.method, u.req, u.reply, u.cc, u.invoker = method, req, reply, cc, invoker
		u.opts = u.wrap(opts, true)

		err := u.run(ctx)
		if fresh && err == nil {
			l.look(s, p, cc, method)
		}
		u.release() // not after a panic: who knows what still runs
		return err
	}
}

// run is the whole call.
func (u *unaryCall) run(caller context.Context) error {
	defer u.abort()
	if d := u.policy.timeout; d > 0 {
		var cancel context.CancelFunc
		u.ctx, cancel = context.WithTimeout(caller, d)
		defer cancel()
	}
	u.ctx = u.start(u.ctx, CallStart)
	var err error
	if u.policy.hedges() {
		err = u.admitAndRace()
	} else {
		err = u.admitAndTry()
	}
	u.settle(err)
	u.deliver()
	u.onFinish(err)
	if err == nil || u.plan.fallback == nil || errors.Is(caller.Err(), context.Canceled) {
		u.close(err, false)
		return err
	}
	own := u.fallBack(caller, err)
	if own == nil {
		u.close(err, true)
		return nil
	}
	u.close(own, false)
	return own
}

func (u *unaryCall) admitAndTry() error {
	if u.ctx.Err() != nil {
		return ended(u.ctx) // no attempt, so no word about the server
	}
	if err := u.admit(); err != nil {
		return err
	}
	for {
		err := u.attempt()
		if err == nil {
			return nil
		}
		delay, again := u.next(failureOf(u.ctx, err, u.code, u.trailer))
		if !again {
			return err
		}
		u.pause(delay, err)
		gone := wait(u.ctx, delay)
		u.paused()
		switch {
		case gone != nil:
			return interrupted(u.ctx, u.loop.Attempts, err)
		case !u.resume():
			return err
		}
		u.kind = RetryAttempt
		u.resetReply() // a codec that merges would add to what the failed one left
	}
}

func (u *unaryCall) attempt() error {
	u.reset()
	ctx, cancel := u.begin(limitFunc(context.WithTimeout))
	if cancel != nil {
		defer cancel()
	}
	err := u.invoker(ctx, u.method, u.req, u.reply, u.cc, u.opts...)
	code := codes.OK
	if err != nil {
		code = codeOf(err)
	}
	u.end(code, err)
	return err
}

func (u *unaryCall) fallBack(ctx context.Context, err error) error {
	if u.loop.Attempts > 0 {
		u.resetReply()
	}
	return u.plan.fallback(ctx, u.method, u.req, u.reply, err)
}

func (u *unaryCall) resetReply() {
	if m, ok := u.reply.(proto.Message); ok {
		proto.Reset(m)
	}
}

// abort runs when run ends, and does something if it did not return.
func (u *unaryCall) abort() {
	if !u.closed {
		u.unwind()
		u.onFinish(errPanicked)
	}
}

func (u *unaryCall) release() {
	u.capture.release()
	u.call = call{lane: u.lane}
	u.req, u.reply, u.cc, u.invoker, u.opts = nil, nil, nil, nil, nil
	if u.first.work != nil {
		u.first, u.original = side{}, original{}
	}
	unaryCalls.Put(u)
}
