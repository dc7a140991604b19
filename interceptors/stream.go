package interceptors

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/message"
)

// phase is where a stream is on its way. What its methods do in each:
//
//	           SendMsg            RecvMsg            Header             Trailer, Context
//	opening    hedges: starts     hedges: races for  hedges: races for  hedges: the oldest
//	           the first attempt  a first message    a header           attempt it is
//	trying     sends, and keeps   receives           waits for it       commit
//	retrying   waits              waits              waits              wait
//	committed  sends              receives, resumes  returns it         return theirs
//	ended      returns io.EOF     returns the end    what has come      what has come
//
// Whoever finds the current attempt dead while trying drives: it decides, backs
// off and opens the next one on its own goroutine, while the others wait. A
// receiver that is inside the inner RecvMsg will find out, so others leave it to
// that one. Sending the log again is the sender's, or a goroutine's if the
// receiver drove: the receiver must be able to receive meanwhile, or two
// flow-control windows could block each other.
type phase uint8

const (
	opening   phase = iota // no attempt is current; those of a hedged stream may race
	trying                 // another attempt may follow the current one
	retrying               // the current one is dead, and what follows is not there yet
	committed              // the current one is the stream, unless it is resumed
	ended                  // the outcome is settled
)

// clientStream drives the engine through the attempts of a stream. Until one is
// committed, what the caller sends is kept and sent again to the next; after
// that the inner stream is all there is.
type clientStream struct {
	streamSpec

	// Set at commit, once messages can be received from the attempt, or sent to
	// it. The message path after commit looks at nothing else.
	recvTo, sendTo atomic.Pointer[streamAttempt]

	mu      sync.Mutex // guards what follows, and the call, which one goroutine at a time works on
	changed sync.Cond
	call    engine.Call
	phase   phase
	marks   streamMarks
	current *streamAttempt
	log     message.Log
	end     streamEnd
	resume  *resumption // nil: a cut stream is not continued
	hedge   *hedger     // opens the stream by attempts side by side; nil: none does, any more
	held    streamHeld
}

// streamSpec is what a stream is made with. It does not change.
type streamSpec struct {
	desc     *grpc.StreamDesc
	cc       *grpc.ClientConn
	method   string
	streamer grpc.Streamer
	theirs   []grpc.CallOption
	plan     *plan
	late     *logFailure
	ledger   *message.Ledger // of what all streams keep
	inherits *compiled       // the policy, where grpc-go's own may stand for what it says nothing of
}

// streamMarks are true while somebody is about something, in whatever phase.
type streamMarks struct {
	driving   bool // who does is alone: it decides, backs off, opens, races
	receiving bool // inside the inner RecvMsg
	replaying bool // sending the log again
}

// streamHeld is what a stream lets go of at its end.
type streamHeld struct {
	first   streamAttempt
	forget  func() bool // stops watching the caller's context; nil: it never ends
	release context.CancelFunc
	probe   *time.Timer // for a stream that is a probe; nil: it is none
}

// newStream admits a stream and opens it, unless its attempts are to run side by
// side: those start with the request. check is called once it is open, or has been
// answered if it is hedged.
func newStream(ctx context.Context, spec streamSpec, host *engine.Host, policy *engine.Policy, check func()) (*clientStream, error) {
	s := &clientStream{streamSpec: spec}
	s.changed.L = &s.mu
	s.call.InitStream(ctx, host, &spec.plan.Plan, policy, spec.plan.fleetOf(spec.cc))
	if spec.desc.ServerStreams && !spec.desc.ClientStreams {
		switch {
		case policy.Hedges(): // such a policy has no retries
			s.hedge = newHedger(s, check)
		case spec.plan.resume != nil:
			s.resume = &resumption{ask: spec.plan.resume}
		}
	}
	err := s.guarded(s.admit)
	if err == nil && s.hedge == nil {
		check()
	}
	return s, err
}

// guarded does what may panic beneath, and settles the stream then.
func (s *clientStream) guarded(do func() error) error {
	returned := false
	defer func() {
		if !returned {
			s.panicked()
		}
	}()
	err := do()
	returned = true
	return err
}

// admit admits the call and opens the first attempt, or one after it, unless
// that is for later.
func (s *clientStream) admit() error {
	c := &s.call
	ctx := c.Ctx
	if d := c.Policy.Timeout; d > 0 {
		ctx, s.held.release = context.WithTimeout(ctx, d)
	}
	c.Start(ctx)
	err := admit(c, s.cc)
	if c.Ctx.Err() != nil {
		err = engine.Ended(c.Ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.finishLocked(err)
		return err
	}
	if c.Probing() {
		s.held.probe = time.AfterFunc(minProbeTTL, s.probeLived)
	}
	if s.hedge == nil {
		if err := s.openFirstLocked(); err != nil {
			return err
		}
	}
	if c.Ctx.Done() != nil {
		s.held.forget = context.AfterFunc(c.Ctx, s.abandoned)
	}
	return nil
}

// openFirstLocked opens the first attempt, or one after it.
func (s *clientStream) openFirstLocked() error {
	if err := s.openLocked(&s.held.first); err != nil && !s.driveLocked(&s.held.first, err) {
		return s.end.final
	}
	return nil
}

// openLocked makes a the current attempt. It lets go of mu meanwhile.
func (s *clientStream) openLocked(a *streamAttempt) error {
	c := &s.call
	s.current = a
	var err error
	s.drivingLocked(func() {
		ctx, _ := c.Begin(a)
		a.number = c.Attempts()
		a.ours = a.opts[:0]
		opts := a.wrap(s.theirs, false)
		if c.Policy.Retry.MaxAttempts > 1 {
			opts = a.remember(opts)
		}
		if a != &s.held.first && a.cancel == nil { // a replay that fails ends it
			ctx, a.cancel = context.WithCancel(ctx)
		}
		var inner grpc.ClientStream
		if inner, err = s.streamer(ctx, s.desc, s.cc, s.method, opts...); err == nil {
			a.ClientStream = inner
		}
		if s.resume != nil {
			a.opened = c.Host.Now()
		}
	})
	if err != nil {
		return a.shown(err)
	}
	s.phase = trying
	if a.deadline != nil || c.Probing() {
		go s.awaitHeader(a)
	}
	return nil
}

// outsideLocked does what is not ours to hold mu for, which is held before and
// after, in a panic too.
func (s *clientStream) outsideLocked(do func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	do()
}

// drivingLocked does the same as the one who drives.
func (s *clientStream) drivingLocked(do func()) {
	s.marks.driving = true
	defer func() {
		s.marks.driving = false
		s.changed.Broadcast()
	}()
	s.outsideLocked(do)
}

// restLocked waits until nobody drives, or the stream has ended.
func (s *clientStream) restLocked() {
	for s.marks.driving && s.phase != ended {
		s.changed.Wait()
	}
}

// driveLocked goes on after the death of an attempt. It lets go of mu meanwhile,
// and returns false if the stream has ended.
func (s *clientStream) driveLocked(dead *streamAttempt, err error) bool {
	for {
		var again bool
		if again, err = s.retryLocked(dead, err, dead.headers() != nil && s.resume == nil); !again {
			s.finishLocked(err)
			return false
		}
		next := new(streamAttempt)
		if err = s.openLocked(next); err == nil {
			s.marks.replaying = len(s.log.Messages) > 0 || s.log.Closed
			return true
		}
		dead = next
	}
}

// retryLocked decides what follows the death of an attempt, and waits for it,
// without mu. If there is to be no other, the error is the stream's.
func (s *clientStream) retryLocked(dead *streamAttempt, err error, delivered bool) (bool, error) {
	c := &s.call
	again := false
	s.phase = retrying
	s.marks.driving = true
	for s.marks.replaying { // to the dead one: that ends at once, and must have, before the log goes elsewhere
		s.changed.Wait()
	}
	s.drivingLocked(func() {
		ev := s.evidence(dead, err)
		ev.Header = ev.Header || delivered
		c.End(err, ev)
		var native *engine.Policy
		if !dead.goesOn.Load() { // grpc-go would not know that it has failed
			native = s.inherits.inherited(s.cc, s.method, c.Attempts())
		}
		f := c.FailureOf(err, ev.Trailer, native)
		f.Committed = delivered || dead.goesOn.Load() && dead.cancel == nil  // nothing but the caller's context would end it
		f.Ambiguous = f.Ambiguous && (s.resume == nil || dead.goesOn.Load()) // who gives a Resume has said how to go on
		if s.livedLong(dead) {
			c.Delivered()
		}
		var delay time.Duration
		if delay, again = c.Next(f); !again {
			return
		}
		c.Pause(delay, err)
		backOff(c.Ctx, s.cc, delay, ev.Sent)
		again, err = c.Resume(err)
	})
	if again {
		dead.release()
	}
	return again, err
}
