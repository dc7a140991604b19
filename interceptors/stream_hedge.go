package interceptors

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/message"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// hedgedStream is a server stream whose attempts run side by side until one has
// a message, has ended well, or is asked for its header or context: that one is
// the stream then, and what remains is a [clientStream] like any.
//
// The first attempt starts with the request. Others start while somebody waits,
// in RecvMsg or Header, who drives the race; who does not wait needs no hedge.
type hedgedStream struct {
	*clientStream
	plain atomic.Bool // there is nothing to be hedged, or no more: clientStream does all

	// Guarded by mu:
	sent    bool // SendMsg has been called
	asked   bool // RecvMsg has been
	request any
	won     *side
	wanted  wanted
	heads   chan *side

	look func() // for retries beneath, once there is an answer; nil: that has been done
}

func newHedgedStream(s *clientStream, look func()) *hedgedStream {
	return &hedgedStream{
		clientStream: s,
		look:         look,
		wanted:       wanted{told: make(chan struct{})},
		heads:        make(chan *side, maxHedgeAttempts),
	}
}

// wanted tells attempts what to receive into, once the caller has said so.
type wanted struct {
	reply message.Type
	told  chan struct{}
}

// streamWork is the work of one of the attempts: up to its first message.
type streamWork struct {
	side side
	streamAttempt
	s       *clientStream // what it is made with; nothing that changes is read
	opts    []grpc.CallOption
	request any
	wanted  *wanted
	opened  chan struct{} // closed once the inner stream is there, or will not be
	heads   chan<- *side  // told when the header has come

	reply any
	ended bool // it ended well, without a message
	cut   bool // its inner stream may not have ended: what that writes is not looked at
}

func (w *streamWork) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		ctx, _ = w.streamAttempt.Limit(ctx, timeout)
	} else {
		ctx, w.cancel = context.WithCancel(ctx)
	}
	return ctx, w.release
}

func (w *streamWork) of() *side { return &w.side }

func (w *streamWork) attempt(a *side) error { return w.told(w.untilMessage(a)) }

func (w *streamWork) untilMessage(a *side) error {
	if err := w.open(a.Ctx); err != nil {
		return err
	}
	err := w.SendMsg(w.request)
	if err == nil || errors.Is(err, io.EOF) { // its end will say why
		err = w.CloseSend()
	}
	if err != nil {
		return err
	}
	if md, _ := w.Header(); md == nil {
		err := w.verdict(w.s.method)
		w.ended = err == nil
		return err
	}
	if w.deadline != nil {
		w.deadline.Stop() // it has been answered
	}
	w.heads <- a
	came := time.Now()
	select {
	case <-w.wanted.told:
		a.idle = time.Since(came)
	case <-a.Ctx.Done():
		w.cut = true
		return status.FromContextError(a.Ctx.Err()).Err()
	}
	w.reply = w.wanted.reply.New()
	if err = w.RecvMsg(w.reply); errors.Is(err, io.EOF) {
		w.ended = true
		return nil
	}
	return err
}

func (w *streamWork) open(ctx context.Context) error {
	defer close(w.opened)
	inner, err := w.s.streamer(ctx, w.s.desc, w.s.cc, w.s.method, w.opts...)
	if err == nil {
		w.ClientStream = inner
	}
	return err
}

func (w *streamWork) trailers() metadata.MD {
	if w.cut {
		return nil
	}
	return w.streamAttempt.trailers()
}

func (w *streamWork) evidence() engine.Evidence {
	if w.cut {
		return engine.Evidence{}
	}
	return w.s.evidence(&w.streamAttempt)
}

func (w *streamWork) recycle() {}

// work makes another attempt's.
func (h *hedgedStream) work() (work, error) {
	request, err := message.Copy(h.request, h.theirs)
	if err != nil {
		return nil, err
	}
	w := &streamWork{s: h.clientStream, request: request, wanted: &h.wanted, opened: make(chan struct{}), heads: h.heads}
	w.side.done = make(chan struct{})
	w.ours = w.streamAttempt.opts[:0]
	w.opts = w.wrap(h.theirs, false)
	return w, nil
}

// SendMsg implements grpc.ClientStream. It takes the request, a copy of it, and
// starts the first attempt.
func (h *hedgedStream) SendMsg(m any) error {
	if h.plain.Load() {
		return h.clientStream.SendMsg(m)
	}
	plain := false
	err := h.guarded(func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.rest()
		if plain = h.plain.Load(); plain || h.done {
			return nil // RecvMsg tells how it ended
		}
		err := h.send(m)
		if err != nil {
			h.finish(err)
		}
		return err
	})
	if plain { // opened meanwhile
		return h.clientStream.SendMsg(m)
	}
	return err
}

func (h *hedgedStream) send(m any) (err error) {
	if h.sent {
		return status.Error(codes.Internal, "astra: SendMsg called after CloseSend")
	}
	h.sent = true
	if h.request, err = message.Copy(m, h.theirs); err != nil {
		return err
	}
	first, err := h.work()
	if err != nil {
		return err
	}
	h.race = newRacing(&h.call, h.of, h.late, h)
	h.race.lives, h.race.heads = true, h.heads
	h.drives(func() { h.race.start(first) })
	return nil
}

// CloseSend implements grpc.ClientStream. The request has closed it already.
func (h *hedgedStream) CloseSend() error {
	if h.unhedged() {
		return h.clientStream.CloseSend()
	}
	return nil
}

// RecvMsg implements grpc.ClientStream.
func (h *hedgedStream) RecvMsg(m any) error {
	if h.unhedged() {
		return h.clientStream.RecvMsg(m)
	}
	return h.guarded(func() error { return h.recvFirst(m) })
}

func (h *hedgedStream) recvFirst(m any) (err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rest()
	if !h.asked && !h.done {
		h.asked = true
		if h.wanted.reply, err = message.TypeOf(m); err != nil {
			h.finish(err)
			return err
		}
		close(h.wanted.told)
	}
	h.decide()
	if h.won == nil {
		return h.final
	}
	h.outside(func() {
		<-h.won.done
		h.won.check()
	})
	h.plain.Store(true)
	w := h.won.work.(*streamWork)
	switch {
	case h.done: // the context has ended
		if h.won.err != nil && !w.cut {
			h.fillLocked(&w.streamAttempt)
		}
		return h.final
	case h.won.err == nil && !w.ended:
		h.outside(func() { message.HandOver(m, w.reply) })
		w.reply = nil
		h.answered()
		if h.look != nil {
			h.outside(h.look)
		}
		return nil
	case w.ended:
		err = io.EOF
	default:
		err = h.won.err
	}
	if w.cut { // as it won
		h.cut = err
	}
	h.outside(func() { _, err = h.received(&w.streamAttempt, m, err) })
	return err
}

// Header implements grpc.ClientStream. It blocks until one attempt has a header,
// which is the stream then.
func (h *hedgedStream) Header() (md metadata.MD, err error) {
	if !h.unhedged() {
		_ = h.guarded(func() error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if !h.done && h.race != nil {
				h.race.ask() // a receiver may run it
			}
			h.rest()
			h.decide()
			return nil
		})
		if h.recvTo.Load() == nil {
			return nil, nil // RecvMsg tells why
		}
	}
	return h.clientStream.Header()
}

// Trailer implements grpc.ClientStream.
func (h *hedgedStream) Trailer() metadata.MD {
	h.settle()
	return h.clientStream.Trailer()
}

// Context implements grpc.ClientStream. What it holds is one attempt's, so it
// ends the race for the one that has run longest.
func (h *hedgedStream) Context() context.Context {
	h.settle()
	return h.clientStream.Context()
}

func (h *hedgedStream) settle() {
	if h.unhedged() {
		return
	}
	_ = h.guarded(func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.rest()
		if h.done || h.won != nil {
			return nil
		}
		var oldest *side
		h.drives(func() { oldest = h.adoptOldest() })
		if oldest != nil {
			h.win(oldest)
		} else {
			h.race.ask()
			h.decide()
		}
		return nil
	})
}

// adoptOldest returns nil if the attempt could not be opened, or has just ended.
func (h *hedgedStream) adoptOldest() *side {
	a := h.race.oldest()
	if a == nil {
		return nil
	}
	w := a.work.(*streamWork)
	<-w.opened
	if w.ClientStream == nil || !h.race.adopt(a) {
		return nil
	}
	return a
}

// rest waits until nobody drives, with mu held.
func (h *hedgedStream) rest() {
	for h.driving && !h.done {
		h.changed.Wait()
	}
}

// unhedged reports whether clientStream does all: because the race is over, or
// because something else comes before the request. It is opened then.
func (h *hedgedStream) unhedged() bool {
	if h.plain.Load() {
		return true
	}
	_ = h.guarded(func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for !h.sent && h.driving && !h.done {
			h.changed.Wait()
		}
		if !h.sent && !h.done && !h.plain.Load() {
			_ = h.openFirst() // RecvMsg tells why not
			h.plain.Store(true)
		}
		return nil
	})
	return h.plain.Load()
}

// decide runs the race to its end, with mu held, which it lets go of meanwhile.
func (h *hedgedStream) decide() {
	if h.done || h.won != nil {
		return
	}
	var a *side
	var err error
	h.drives(func() {
		if a, err = h.race.run(); a == nil && err != nil {
			a = h.lastWord()
		}
	})
	switch {
	case a != nil && a.fate.Load() == reported && !a.returned:
		h.cut = engine.ErrPanicked // before anybody else goes on with the race
		h.finish(h.cut)
		a.check()
	case err == nil:
		h.win(a)
		h.answered()
	default:
		if a != nil && !a.work.(*streamWork).cut {
			h.current = &a.work.(*streamWork).streamAttempt
		}
		h.finish(err)
	}
}
