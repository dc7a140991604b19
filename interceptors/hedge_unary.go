package interceptors

import (
	"context"
	"sync"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/hedge"
	"github.com/astra-grpc/astra/internal/message"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// unaryWork is the work of one of the attempts of a hedged call. It shares
// nothing with the caller, nor with other attempts.
type unaryWork struct {
	hedgeAttempt
	capture
	method     string
	req, reply any
	cc         *grpc.ClientConn
	invoker    grpc.UnaryInvoker
	opts       []grpc.CallOption
}

var unaryWorks = sync.Pool{New: func() any { return new(unaryWork) }}

func (w *unaryWork) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return cancellable(ctx, timeout)
}

func (w *unaryWork) of() *hedgeAttempt { return &w.hedgeAttempt }

func (w *unaryWork) do(a *hedgeAttempt) error {
	return w.invoker(a.Ctx, w.method, w.req, w.reply, w.cc, w.opts...)
}

func (w *unaryWork) trailers() metadata.MD { return w.trailer }

func (w *unaryWork) evidence() engine.Evidence {
	return w.capture.evidence(w.cc, w.method, w.reply)
}

func (w *unaryWork) recycle() {
	w.release()
	kept := w.capture
	*w = unaryWork{}
	w.capture = kept
	unaryWorks.Put(w)
}

func (w *unaryWork) seen(err error) Attempt { return w.capture.seen(err, nil) }

// firstWork is that of the first attempt, which is made on the caller's own
// goroutine, with the caller's messages. So a call that needs no hedge costs
// little more than one that is never hedged; and should it lose, it is waited
// for until it heeds its cancellation, as a call that is not hedged would be.
type firstWork unaryCall

func (w *firstWork) of() *hedgeAttempt      { return &w.first }
func (w *firstWork) trailers() metadata.MD  { return w.trailer }
func (w *firstWork) recycle()               {}
func (w *firstWork) seen(err error) Attempt { return w.capture.seen(err, nil) }
func (w *firstWork) evidence() engine.Evidence {
	return w.capture.evidence(w.cc, w.method, w.reply)
}
func (w *firstWork) do(a *hedgeAttempt) error {
	return w.invoker(a.Ctx, w.method, w.req, w.reply, w.cc, w.opts...)
}

func (w *firstWork) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return cancellable(ctx, timeout)
}

// work makes another attempt's.
func (u *unaryCall) work() (work, error) {
	req, err := message.Copy(u.original.request, u.theirs)
	if err != nil {
		return nil, err
	}
	w := unaryWorks.Get().(*unaryWork)
	w.wantHeader = u.full.classifier != nil
	w.method, w.req, w.reply, w.cc, w.invoker = u.method, req, u.original.reply.New(), u.cc, u.invoker
	w.opts = w.wrap(u.theirs, true)
	return w, nil
}

// original is what a call was given, as it was: a request that nobody changes,
// to be copied.
type original struct {
	request any
	reply   message.Type
}

func originalOf(req, reply any, opts []grpc.CallOption) (o original, err error) {
	if o.reply, err = message.TypeOf(reply); err != nil {
		return o, err
	}
	o.request, err = message.Copy(req, opts)
	return o, err
}

// admitAndRace is admitAndTry with attempts side by side.
func (u *unaryCall) admitAndRace() (err error) {
	if u.Ctx.Err() != nil {
		return engine.Ended(u.Ctx)
	}
	if err := admit(&u.Call, u.cc); err != nil {
		return err
	}
	if u.original, err = originalOf(u.req, u.reply, u.theirs); err != nil {
		return err // no attempt, so no word about the server
	}
	r := newHedgedCall(&u.Call, u.full, u.late, u)
	defer r.leave()
	a, err := r.runFirst((*firstWork)(u))
	if a == nil {
		return err
	}
	a.check()
	if w, ok := a.work.(*unaryWork); ok {
		u.header, u.trailer, u.peer = w.header, w.trailer, w.peer
		if err == nil {
			message.HandOver(u.reply, w.reply)
		} else {
			u.resetReply() // the first attempt may have left something
		}
	}
	return err
}

// callerAttempt is a race whose first attempt runs where the race would: until it
// has ended, a timer's goroutine runs the race, if a hedge becomes due at all.
type callerAttempt struct {
	*hedgedCall
	decided chan struct{} // closed when that goroutine has
	winner  *hedgeAttempt // what it has: run's
	err     error
}

// runFirst is run, with the first attempt made by it.
func (r *hedgedCall) runFirst(w work) (*hedgeAttempt, error) {
	first := r.begin(w)
	due := r.schedule.Due()
	if due == hedge.Never {
		return r.inline(first, nil, nil)
	}
	i := &callerAttempt{hedgedCall: r, decided: make(chan struct{})}
	return r.inline(first, time.AfterFunc(due-r.clock, i.run), i)
}

// inline makes the first attempt. When it returns, or panics, the race is the
// caller's again.
func (r *hedgedCall) inline(first *hedgeAttempt, t *time.Timer, other *callerAttempt) (winner *hedgeAttempt, err error) {
	mine := false
	func() {
		defer func() {
			if mine = t == nil || t.Stop(); mine {
				if !first.returned {
					r.abandonErr = engine.ErrPanicked
				}
				return
			}
			if first.state.CompareAndSwap(running, reported) {
				r.results <- first
			}
			<-other.decided
		}()
		first.err = first.work.do(first)
		first.returned = true
	}()
	if !mine {
		return other.winner, other.err
	}
	r.clock = r.call.Host.Now()
	if r.ended(first) {
		return first, nil
	}
	return r.run()
}

// run is the timer's goroutine.
func (i *callerAttempt) run() {
	defer close(i.decided)
	defer func() { // they have lost, or ended; the caller may still have to wait for the first
		for _, a := range i.attempts {
			a.cancel()
		}
	}()
	returned := false
	defer func() {
		if !returned { // a codec, copying the request
			i.winner = &hedgeAttempt{panicked: recover()}
		}
	}()
	i.clock = i.call.Host.Now()
	i.winner, i.err = i.hedgedCall.run()
	returned = true
}
