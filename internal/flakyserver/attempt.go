package flakyserver

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errReset ends an attempt whose connection breaks with it.
var errReset = status.Error(codes.Unavailable, "flakyserver: connection reset")

// attempt is one RPC as the server sees it.
type attempt struct {
	server *Server
	method *method
	conn   *conn
	stream grpc.ServerStream
	record *Attempt // nil: not logged
	answer answerer
	recvd  int
	sent   int
}

// handle serves one RPC of any method.
func (s *Server) handle(c *conn, stream grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(stream) // a server's stream always has one
	m := s.method(name)
	step, down := s.choose(m)
	a := &attempt{server: s, method: m, conn: c, stream: stream, answer: m.newAnswerer(step)}
	a.begin()
	err := a.run(step, down)
	a.finish(err)
	return err
}

func (a *attempt) begin() {
	a.record = a.server.log.add(a.stream.Context(), a.method.name)
	a.method.attempts.Add(1)
	a.server.changed.raise()
}

func (a *attempt) finish(err error) {
	code, reset := status.Code(err), errors.Is(err, errReset)
	a.method.ended(code, reset)
	end := time.Now()
	a.server.log.update(a.record, func(r *Attempt) { r.Ended, r.End, r.Code, r.Reset = true, end, code, reset })
	a.server.changed.raise()
}

func (a *attempt) run(step Step, down bool) error {
	// Where the client sends one message only, generated handlers run when it
	// has come.
	if !a.method.kind.clientStreams {
		if err := a.receive(); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	if p := a.server.pool; p != nil && !down && !step.atOnce {
		switch p.work(a.stream.Context(), a.server.closed) {
		case workFull:
			a.method.rejected.Add(1)
			step = p.full
		case workDropped:
			a.method.dropped.Add(1)
			<-a.stream.Context().Done() // on Close, it is about to end
			return contextError(a.stream.Context())
		case workWasted:
			a.method.wasted.Add(1)
			return contextError(a.stream.Context())
		}
	}
	return a.play(step)
}

// play goes through the step in the order that [Step] documents.
func (a *attempt) play(step Step) error {
	ctx := a.stream.Context()
	if err := sleep(ctx, step.delay); err != nil {
		return err
	}
	if step.goAway {
		if err := a.conn.drain(ctx); err != nil {
			return err
		}
	}
	if step.early {
		if err := a.stream.SendHeader(step.header); err != nil {
			return err
		}
	}
	a.stream.SetTrailer(step.trailer)
	if err := a.talk(step.limits()); err != nil {
		return err
	}
	if err := sleep(ctx, step.stall); err != nil {
		return err
	}
	switch step.end {
	case endHang:
		<-ctx.Done()
		return contextError(ctx)
	case endReset:
		a.conn.resetting.Store(true)
		a.stream.SetTrailer(resetMark)
		return errReset
	default:
		return step.err
	}
}

// talk plays the method's part as far as the limits say.
func (a *attempt) talk(received, replies int) error {
	k := a.method.kind
	if k.clientStreams && k.serverStreams {
		return a.converse(received, replies)
	}
	for k.clientStreams && (received < 0 || a.recvd < received) {
		if err := a.receive(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if replies < 0 {
		replies = k.replies()
	}
	for a.sent < replies {
		if err := a.reply(); err != nil {
			return err
		}
	}
	return nil
}

// converse answers each message as it comes.
func (a *attempt) converse(received, replies int) error {
	endless := received < 0 && replies < 0
	for endless || a.recvd < received || a.sent < replies {
		if err := a.receive(); errors.Is(err, io.EOF) {
			return a.replyRest(replies)
		} else if err != nil {
			return err
		}
		if replies >= 0 && a.sent >= replies {
			continue
		}
		if err := a.reply(); err != nil {
			return err
		}
	}
	return nil
}

// replyRest sends what is left of scripted replies.
func (a *attempt) replyRest(replies int) error {
	if _, ok := a.answer.(scripted); !ok {
		return nil
	}
	for a.sent < replies {
		if err := a.reply(); err != nil {
			return err
		}
	}
	return nil
}

func (a *attempt) receive() error {
	var m message
	if err := a.stream.RecvMsg(&m); err != nil {
		return err
	}
	a.recvd++
	a.server.log.update(a.record, func(r *Attempt) { r.Received++ })
	a.server.changed.raise()
	return a.answer.take(m)
}

func (a *attempt) reply() error {
	m, err := a.answer.next(a.sent)
	if err != nil {
		return err
	}
	if err := a.stream.SendMsg(&m); err != nil {
		return err
	}
	a.sent++
	a.server.log.update(a.record, func(r *Attempt) { r.Sent++ })
	return nil
}

// sleep waits for d or the client's going, whichever is first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

func contextError(ctx context.Context) error { return status.FromContextError(ctx.Err()).Err() }
