package interceptors

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/message"
	"google.golang.org/grpc"
)

// unaryCall drives the engine through attempts one after another, on the
// caller's goroutine.
type unaryCall struct {
	engine.Call
	capture

	full       *plan
	late       *logFailure
	method     string
	req, reply any
	cc         *grpc.ClientConn
	invoker    grpc.UnaryInvoker
	opts       []grpc.CallOption
	inherits   *compiled // the policy, where grpc-go's own may stand for what it says nothing of

	// Of a call that is hedged:
	first    hedgeAttempt
	original original

	before message.Before // of its reply
	last   lastPlan       // kept for the next call that is made of this
}

// unaryCalls keeps calls for reuse. Pools are per processor, and so, mostly,
// are the shards of their calls.
var unaryCalls = sync.Pool{New: func() any { return new(unaryCall) }}

// make makes the whole call.
func (u *unaryCall) make(ctx context.Context, host *engine.Host, late *logFailure, p *plan, policy *compiled, opts []grpc.CallOption) error {
	u.Init(ctx, host, &p.Plan, &policy.Policy, p.fleetOf(u.cc))
	u.full, u.late = p, late
	u.wantHeader = p.classifier != nil || p.flags.Load()&flagNative != 0
	u.opts = u.wrap(opts, true)
	err := u.run(ctx)
	u.release() // not after a panic: who knows what still runs
	return err
}

// run is the whole call.
func (u *unaryCall) run(caller context.Context) error {
	defer u.abort()
	ctx := caller
	if d := u.Policy.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(caller, d)
		defer cancel()
	}
	u.Start(ctx)
	u.before = message.BeforeOf(u.reply)
	var err error
	if u.Policy.Hedges() {
		err = u.admitAndRace()
	} else {
		err = u.admitAndTry()
	}
	u.Settle(err)
	u.deliver()
	u.onFinish(err)
	if err == nil || u.full.fallback == nil || errors.Is(caller.Err(), context.Canceled) {
		u.finish(err, false)
		return err
	}
	own := u.fallBack(caller, err)
	if own == nil {
		u.finish(err, true)
		return nil
	}
	u.finish(own, false)
	return own
}

func (u *unaryCall) finish(err error, rescued bool) {
	u.Finish(err, rescued)
	if u.effects {
		fillReports(u.theirs, &u.Call, err, rescued)
	}
}

func (u *unaryCall) admitAndTry() error {
	if u.Ctx.Err() != nil {
		return engine.Ended(u.Ctx) // no attempt, so no word about the server
	}
	if err := admit(&u.Call, u.cc); err != nil {
		return err
	}
	for {
		err := u.attempt()
		if err == nil && !u.Unsatisfied() {
			return nil
		}
		delay, again := u.Next(u.failure(err))
		if !again {
			return err
		}
		u.Pause(delay, err)
		backOff(u.Ctx, u.cc, delay, u.sent())
		if again, err = u.Resume(err); !again {
			return err
		}
		u.resetReply() // a codec that merges would add to what the failed one left
	}
}

// failure is what the last attempt, which failed, is judged by. A retry policy that is
// grpc-go's holds as grpc-go has it: until a header has come.
func (u *unaryCall) failure(err error) failure.Failure {
	native := u.inherits.inherited(u.cc, u.method, u.Attempts())
	if native != nil {
		u.full.flags.Or(flagNative)
	}
	f := u.FailureOf(err, u.trailer, native)
	f.Committed = u.inherits != nil && u.Policy != &u.inherits.Policy && u.headed()
	return f
}

func (u *unaryCall) attempt() error {
	u.reset()
	ctx, cancel := u.Begin(attemptTimeout{})
	if cancel != nil {
		defer cancel()
	}
	err := u.invoker(ctx, u.method, u.req, u.reply, u.cc, u.opts...)
	if c := u.full.classifier; err != nil || c.replies() {
		ev := u.evidence(u.cc, u.method, u.reply)
		ev.Ruling = c.rule(&u.Call, u.seen(err, u.reply))
		u.End(err, ev)
		return err
	}
	u.End(nil, engine.Evidence{Peer: u.from()}) // the rest is plain
	return nil
}

func (u *unaryCall) fallBack(ctx context.Context, err error) error {
	if u.Attempts() > 0 {
		u.resetReply()
	}
	return u.full.fallback(ctx, u.method, u.req, u.reply, err)
}

func (u *unaryCall) resetReply() { u.before.Restore(u.reply) }

// abort runs when run ends, and does something if it did not return.
func (u *unaryCall) abort() {
	if u.Unwind() {
		u.onFinish(engine.ErrPanicked)
	}
}

func (u *unaryCall) release() {
	u.capture.release()
	u.Release()
	u.before = message.Before{}
	u.full, u.req, u.reply, u.cc, u.invoker, u.opts, u.inherits = nil, nil, nil, nil, nil, nil, nil
	if u.first.work != nil {
		u.first, u.original = hedgeAttempt{}, original{}
	}
	unaryCalls.Put(u)
}

// attemptTimeout bounds an attempt by its context.
type attemptTimeout struct{}

// Limit implements [engine.Limiter].
func (attemptTimeout) Limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}
