package interceptors

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/message"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// clientStream drives the engine through the attempts of a stream. Until one is
// committed, what the caller sends is kept and sent again to the next; after
// that the inner stream is all there is.
//
// Whoever finds the attempt dead, receiver, sender or Header, drives: decides,
// backs off and opens the next one, on its own goroutine, while the others
// wait. A receiver that is inside the inner RecvMsg will find it, so others
// leave it to that one. Sending the log again is the sender's, or a goroutine's
// if the receiver drove: the receiver must be able to receive meanwhile, or two
// flow-control windows could block each other.
type clientStream struct {
	desc     *grpc.StreamDesc
	cc       *grpc.ClientConn
	method   string
	streamer grpc.Streamer
	theirs   []grpc.CallOption
	of       *endpoint
	late     *logFailure
	ledger   *message.Ledger // of what all streams keep

	// Set once, at commit; sendTo when the log has been sent again too. The
	// message path after commit looks at nothing else.
	recvTo, sendTo atomic.Pointer[streamAttempt]

	mu         sync.Mutex // guards what follows, and the call, which one goroutine at a time works on
	changed    sync.Cond
	call       engine.Call
	current    *streamAttempt
	log        message.Log
	receiving  bool        // someone is inside the inner RecvMsg
	heard      bool        // that has returned a message, which committed the stream
	driving    bool        // someone decides, backs off, opens
	replaying  bool        // someone sends the log again
	done       bool        // the outcome is settled
	final      error       // what RecvMsg says then
	cut        error       // not nil: the inner stream did not end by itself
	refused    error       // not nil: a message could not be sent, which ended the stream
	filled     bool        // the caller's options have been
	unsendable atomic.Bool // likewise, known before who settles the stream can know
	lived      *time.Timer // for a stream that is a probe; nil: it is none

	race    *racing     // attempts side by side, of which one will be the stream; nil: none are
	resume  *resumption // nil: a cut stream is not continued
	first   streamAttempt
	forget  func() bool // stops watching the caller's context; nil: it never ends
	release context.CancelFunc
}

func (s *Suite) stream(l *layers) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		with := readCallOptions(opts)
		if with.err != nil {
			onFinish(opts, with.err)
			return nil, with.err
		}
		p, fresh := s.planOf(cc, method, l)
		st := &clientStream{desc: desc, cc: cc, method: method, streamer: streamer, theirs: opts}
		st.changed.L = &st.mu
		st.of, st.late, st.ledger = p.endpoint, &s.lateFailure, &s.replay
		st.call.InitStream(ctx, &s.Host, &p.Plan, &with.apply(p).Policy)
		st.call.Balance(s.balancing.of(cc, p.endpoint))
		fromServer := desc.ServerStreams && !desc.ClientStreams
		hedges := fromServer && st.call.Policy.Hedges()
		if r := p.resume; r != nil && fromServer && !hedges { // which has no retries
			st.resume = &resumption{ask: r}
		}
		err := st.guarded(func() error { return st.admit(!hedges) })
		switch {
		case err != nil:
			return nil, err
		case hedges:
			var look func()
			if fresh {
				look = func() { l.look(s, p, cc, method) }
			}
			return newHedgedStream(st, look), nil
		case fresh:
			l.look(s, p, cc, method)
		}
		return st, nil
	}
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
func (s *clientStream) admit(open bool) error {
	c := &s.call
	ctx := c.Ctx
	if d := c.Policy.Timeout; d > 0 {
		ctx, s.release = context.WithTimeout(ctx, d)
	}
	c.Start(ctx)
	err := admit(c)
	if c.Ctx.Err() != nil {
		err = engine.Ended(c.Ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.finish(err)
		return err
	}
	if c.Probing() {
		s.lived = time.AfterFunc(minProbeTTL, s.probeLived)
	}
	if open {
		if err := s.openFirst(); err != nil {
			return err
		}
	}
	if c.Ctx.Done() != nil {
		s.forget = context.AfterFunc(c.Ctx, s.abandoned)
	}
	return nil
}

// openFirst opens the first attempt, or one after it, with mu held.
func (s *clientStream) openFirst() error {
	if err := s.open(&s.first); err != nil && !s.drive(&s.first, err) {
		return s.final
	}
	return nil
}

// open makes a the current attempt, with mu held, which it lets go of
// meanwhile.
func (s *clientStream) open(a *streamAttempt) error {
	c := &s.call
	s.current = a
	var err error
	s.drives(func() {
		ctx, _ := c.Begin(a)
		a.number = c.Attempts()
		a.ours = a.opts[:0]
		opts := a.wrap(s.theirs, false)
		if c.Policy.Retry.MaxAttempts > 1 {
			opts = a.remember(opts)
		}
		if a != &s.first && a.cancel == nil { // a replay that fails ends it
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
	if err == nil && (a.deadline != nil || c.Probing()) {
		go s.awaitHeader(a)
	}
	return a.told(err)
}

// outside does what is not ours to hold mu for, with mu held before and after,
// in a panic too.
func (s *clientStream) outside(do func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	do()
}

// drives does the same as the one who drives.
func (s *clientStream) drives(do func()) {
	s.driving = true
	defer func() {
		s.driving = false
		s.changed.Broadcast()
	}()
	s.outside(do)
}

// drive goes on after the death of an attempt, with mu held, which it lets go
// of meanwhile. It returns false if the stream has ended.
func (s *clientStream) drive(dead *streamAttempt, err error) bool {
	for {
		var again bool
		if again, err = s.retry(dead, err, dead.headers() != nil && s.resume == nil); !again {
			s.finish(err)
			return false
		}
		next := new(streamAttempt)
		if err = s.open(next); err == nil {
			s.replaying = len(s.log.Messages) > 0 || s.log.Closed
			return true
		}
		dead = next
	}
}

// retry decides what follows the death of an attempt, and waits for it, with mu
// held, which it lets go of meanwhile. If there is to be no other, the error is
// the stream's.
func (s *clientStream) retry(dead *streamAttempt, err error, committed bool) (bool, error) {
	c := &s.call
	again := false
	s.driving = true
	for s.replaying { // to the dead one: that ends at once, and must have, before the log goes elsewhere
		s.changed.Wait()
	}
	s.drives(func() {
		ev := s.evidence(dead)
		ev.Header = ev.Header || committed
		c.End(err, ev)
		f := c.FailureOf(err, ev.Trailer)
		f.Committed = committed
		f.Ambiguous = f.Ambiguous && s.resume == nil // who gives a Resume has said how to go on
		if s.livedLong(dead) {
			c.Delivered()
		}
		var delay time.Duration
		if delay, again = c.Next(f); !again {
			return
		}
		c.Pause(delay, err)
		wait(c.Ctx, delay)
		again, err = c.Resume(err)
	})
	if again {
		dead.release()
	}
	return again, err
}

// SendMsg implements grpc.ClientStream. io.EOF means that the stream has ended;
// RecvMsg tells how.
func (s *clientStream) SendMsg(m any) error {
	if a := s.sendTo.Load(); a != nil {
		return s.sent(a.SendMsg(m))
	}
	err := s.guarded(func() error { return s.send(m) })
	if !s.desc.ClientStreams && errors.Is(err, io.EOF) {
		return nil // as grpc-go has it: RecvMsg is what comes next
	}
	return err
}

func (s *clientStream) send(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		a, ok := s.toSend()
		if !ok {
			return io.EOF
		}
		var err error
		var encoded mem.BufferSlice
		var own bool
		s.outside(func() { encoded, own, err = a.codec.Send(m, a.SendMsg) })
		refused := err != nil && !errors.Is(err, io.EOF)
		if refused {
			s.unsendable.Store(true)
		}
		// Others may be finding out what became of the attempt. io.EOF alone does
		// not say: grpc-go's transparent retry can bring a stream back to life
		// that has returned it, with the message.
		for !refused && s.current == a && !s.done && s.recvTo.Load() != a && (s.driving || s.receiving && err != nil) {
			s.changed.Wait()
		}
		if err == nil && s.current == a && !s.done {
			s.keep(a, m, encoded, own)
			return nil
		}
		if own {
			encoded.Free()
		}
		switch {
		case refused: // whatever becomes of the attempt, it is the message's fault
			s.refuseLocked(err)
			return err
		case s.done:
			return io.EOF
		case s.current != a: // the next has not got this message
		case s.recvTo.Load() == a && s.heard:
			// It lives: grpc-go's transparent retry has brought it back, and
			// the message with it. If it has ended since, the next one is told.
			return nil
		case s.recvTo.Load() == a:
			return io.EOF
		default:
			if next := s.foundDead(a); next != nil {
				if err = s.replayLocked(next); err != nil {
					return err
				}
			}
			if s.current == a {
				return io.EOF
			}
		}
	}
}

// sent looks at what a committed attempt's SendMsg returned: the caller's own
// fault ends the stream, as grpc-go has it.
func (s *clientStream) sent(err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refuseLocked(err)
	}
	return err
}

// toSend waits until there is an attempt to send to, with mu held; ok is false
// if the stream has ended.
func (s *clientStream) toSend() (a *streamAttempt, ok bool) {
	for (s.driving || s.replaying) && !s.done {
		s.changed.Wait()
	}
	return s.current, !s.done
}

// foundDead is for who finds that an attempt takes no more messages or has no
// header: it asks for the reason and drives, with mu held, which it lets go of
// meanwhile. If headers came, the stream is committed: there may be messages
// to receive, so this is not the end. An attempt that it returns is to be sent
// the log.
func (s *clientStream) foundDead(a *streamAttempt) *streamAttempt {
	var err error
	var md metadata.MD
	s.drives(func() {
		if md = a.headers(); md == nil {
			err = a.told(a.verdict(s.method))
		}
	})
	switch {
	case s.done:
	case md != nil:
		s.commit(a)
	case err == nil: // it ended well without a word
		s.commit(a)
		s.finish(nil)
	case s.drive(a, err) && s.replaying:
		return s.current
	}
	return nil
}

// CloseSend implements grpc.ClientStream.
func (s *clientStream) CloseSend() error {
	if a := s.sendTo.Load(); a != nil {
		return a.CloseSend()
	}
	s.mu.Lock()
	a, ok := s.toSend()
	s.log.Closed = true
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return a.CloseSend()
}
