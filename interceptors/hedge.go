package interceptors

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// unaryWork is the work of one of the attempts of a hedged call. It shares
// nothing with the caller, nor with other attempts.
type unaryWork struct {
	side
	capture
	method     string
	req, reply any
	cc         *grpc.ClientConn
	invoker    grpc.UnaryInvoker
	opts       []grpc.CallOption
}

var unaryWorks = sync.Pool{New: func() any { return new(unaryWork) }}

func (w *unaryWork) limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return cancellable(ctx, timeout)
}

func (w *unaryWork) of() *side { return &w.side }

func (w *unaryWork) attempt(a *side) error {
	return w.invoker(a.ctx, w.method, w.req, w.reply, w.cc, w.opts...)
}

func (w *unaryWork) trailers() metadata.MD { return w.trailer }

func (w *unaryWork) recycle() {
	w.capture.release()
	kept := w.capture
	*w = unaryWork{}
	w.capture = kept
	unaryWorks.Put(w)
}

// work copies what the caller gave for one attempt.
func (u *unaryCall) work() (work, error) {
	req, err := copyRequest(u.req, u.theirs)
	if err != nil {
		return nil, err
	}
	reply, err := freshReply(u.reply)
	if err != nil {
		return nil, err
	}
	w := unaryWorks.Get().(*unaryWork)
	w.method, w.req, w.reply, w.cc, w.invoker = u.method, req, reply, u.cc, u.invoker
	w.opts = w.wrap(u.theirs, true)
	return w, nil
}

// admitAndRace is admitAndTry with attempts side by side.
func (u *unaryCall) admitAndRace() error {
	if u.ctx.Err() != nil {
		return ended(u.ctx)
	}
	first, err := u.work()
	if err != nil {
		return err
	}
	if err := u.admit(); err != nil {
		return err
	}
	r := newRacing(&u.call, u)
	defer r.leave()
	r.start(first)
	a, err := r.run()
	if a != nil {
		w := a.work.(*unaryWork)
		u.header, u.trailer, u.peer = w.header, w.trailer, w.peer
		if err == nil {
			handOver(u.reply, w.reply)
		}
	}
	return err
}
