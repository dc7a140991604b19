package interceptors

import (
	"context"
	"net"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// errLost is what observers get as the error of an attempt that was cancelled as
// another's end was the call's.
var errLost = status.Error(codes.Canceled, "astra: another attempt ended the call")

// work is what an attempt of a race does.
type work interface {
	engine.Limiter             // of the attempt's context; a timeout of 0 is none
	of() *hedgeAttempt         // the same each time
	do(a *hedgeAttempt) error  // on its own goroutine
	trailers() metadata.MD     // once it has ended
	evidence() engine.Evidence // of one that failed
	from() net.Addr            // who has answered it; nil: not known
	seen(err error) Attempt    // likewise, for a classifier
	recycle()                  // nobody uses it any more
}

// source makes the work of attempts.
type source interface{ work() (work, error) }

// side is an attempt that runs beside others, on a goroutine of its own.
type hedgeAttempt struct {
	engine.Attempt
	work    work
	cancel  context.CancelFunc
	handled bool // the race has done with it

	state   atomic.Int32 // decided once
	results chan<- *hedgeAttempt
	over    chan struct{} // closed when it is over; nil: nobody asks
	failed  *logFailure
	// Valid once it has reported:
	err      error
	idle     time.Duration // time that it waited for the caller
	returned bool
	panicked any // what it panicked with, if it has not returned; nil: Goexit
	stack    []byte
}

// The states of an attempt.
const (
	running   int32 = iota
	reported        // to the race, which will look at it
	abandoned       // nobody will
	adopted         // it is the call now: who waits for done will
)

// logFailure says that an attempt panicked that nobody waited for.
type logFailure func(what any, stack []byte)

func (a *hedgeAttempt) run() {
	defer a.report()
	a.err = a.work.do(a)
	a.returned = true
}

// report hands the attempt to the race once it is over, unless it has been given up.
func (a *hedgeAttempt) report() {
	if !a.returned {
		if a.panicked = recover(); a.panicked != nil {
			a.stack = debug.Stack()
		}
	}
	if a.over != nil {
		close(a.over)
	}
	if a.state.CompareAndSwap(running, reported) {
		a.results <- a // there is room; a is the race's from here on
	} else if a.panicked != nil && a.state.Load() == abandoned {
		(*a.failed)(a.panicked, a.stack)
	}
}

// check panics, or ends the goroutine, as the attempt did.
func (a *hedgeAttempt) check() {
	switch {
	case a.returned:
	case a.panicked == nil:
		runtime.Goexit()
	default:
		panic(a.panicked)
	}
}

// cancellable bounds an attempt that is to be cancelled when it has lost.
func cancellable(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}
