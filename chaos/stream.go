package chaos

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// StreamClientInterceptor returns the interceptor of streams, which stands
// beneath a suite's: see [Injector.DialOptions].
func (i *Injector) StreamClientInterceptor() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, newStream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		r := i.running.Load()
		if r == nil {
			return newStream(ctx, desc, cc, method, opts...)
		}
		f, wait, u := r.draw(method)
		if err := r.delay(ctx, wait); err != nil {
			finish(opts, err)
			return nil, err
		}
		if f == nil {
			return newStream(ctx, desc, cc, method, opts...)
		}
		switch f.Kind {
		case Unsent:
			finish(opts, f.err)
			return nil, f.err
		case Status:
			f.answer(opts)
			return &answered{ctx: ctx, fault: f, opts: opts}, nil
		}
		inner, cancel := context.WithCancel(ctx)
		stream, err := newStream(inner, desc, cc, method, opts...)
		if err != nil {
			cancel()
			return nil, err
		}
		return &faulty{ClientStream: stream, running: r, fault: f, cancel: cancel, u: u, single: !desc.ServerStreams}, nil
	}
}

// answered is a stream that a server has answered with a status, and no more.
type answered struct {
	ctx   context.Context
	fault *fault
	opts  []grpc.CallOption
	once  sync.Once
}

func (s *answered) Header() (metadata.MD, error) { return nil, nil }
func (s *answered) Trailer() metadata.MD         { return s.fault.trailer.Copy() }
func (s *answered) CloseSend() error             { return nil }
func (s *answered) Context() context.Context     { return s.ctx }
func (s *answered) SendMsg(any) error            { return io.EOF }

func (s *answered) RecvMsg(any) error {
	s.once.Do(func() { finish(s.opts, s.fault.err) })
	return s.fault.err
}

// faulty is a stream that loses, withholds or corrupts a message.
type faulty struct {
	grpc.ClientStream
	running *running
	fault   *fault
	cancel  context.CancelFunc
	u       uint64
	single  bool // one message comes, and the end with it

	received int // by the stream's one receiver
	lost     atomic.Bool
}

func (s *faulty) RecvMsg(m any) error {
	if s.lost.Load() {
		return s.fault.err
	}
	if s.received == s.fault.After {
		switch s.fault.Kind {
		case Reset:
			s.lost.Store(true)
			s.end(m)
			return s.fault.err
		case Hang:
			if err := s.running.hang(s.Context()); err != nil { // what has come meanwhile was not to come
				s.end(m)
				return err
			}
		}
	}
	err := s.ClientStream.RecvMsg(m)
	if err == nil && s.fault.Kind == Corrupt && s.received == s.fault.After {
		if err = corrupt(m, s.u); err != nil {
			s.end(m)
		}
	}
	s.received++
	if err != nil || s.single {
		s.cancel()
	}
	return err
}

// end ends the stream beneath, and returns when it has ended: what its options
// point to is the caller's from then on.
func (s *faulty) end(m any) {
	s.cancel()
	for scratch := another(m); s.ClientStream.RecvMsg(scratch) == nil; {
	}
}

func (s *faulty) SendMsg(m any) error {
	if s.lost.Load() {
		return io.EOF
	}
	return s.ClientStream.SendMsg(m)
}

// Header returns none of a stream that was lost before its first message: the
// connection went before it came, whatever the server had sent.
func (s *faulty) Header() (metadata.MD, error) {
	if s.lost.Load() && s.fault.After == 0 {
		return nil, nil
	}
	return s.ClientStream.Header()
}

// Trailer returns none of a stream that was lost: none has come.
func (s *faulty) Trailer() metadata.MD {
	if s.lost.Load() {
		return nil
	}
	return s.ClientStream.Trailer()
}
