package chaos

import (
	"context"
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// UnaryClientInterceptor returns the interceptor of unary calls, which stands
// beneath a suite's: see [Injector.DialOptions].
func (i *Injector) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		r := i.running.Load()
		if r == nil {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		f, wait, u := r.draw(method)
		if err := r.delay(ctx, wait); err != nil {
			finish(opts, err)
			return err
		}
		if f == nil {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		switch f.Kind {
		case Status, Unsent:
			f.answer(opts)
			finish(opts, f.err)
			return f.err
		case Hang:
			if err := r.hang(ctx); err != nil {
				f.answer(opts)
				finish(opts, err)
				return err
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		case Reset:
			return f.lose(ctx, method, req, reply, cc, invoke, opts)
		}
		err := invoke(ctx, method, req, reply, cc, opts...)
		if err == nil {
			err = corrupt(reply, u)
		}
		return err
	}
}

// lose sends the request and loses the answer.
func (f *fault) lose(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts []grpc.CallOption) error {
	var trailer metadata.MD
	kept := make([]grpc.CallOption, 0, len(opts)+1)
	for _, o := range opts {
		switch o.(type) {
		case grpc.HeaderCallOption, grpc.TrailerCallOption, grpc.OnFinishCallOption:
		default:
			kept = append(kept, o)
		}
	}
	err := invoke(ctx, method, req, another(reply), cc, append(kept, grpc.Trailer(&trailer))...)
	if err == nil {
		err = f.err
	} else {
		setTrailer(opts, trailer) // it failed by itself
	}
	finish(opts, err)
	return err
}

// another returns a reply of the same type, so that the caller's stays as it is.
func another(reply any) any {
	if m, ok := reply.(proto.Message); ok {
		return m.ProtoReflect().New().Interface()
	}
	if t := reflect.TypeOf(reply); t != nil && t.Kind() == reflect.Pointer {
		return reflect.New(t.Elem()).Interface()
	}
	return reply
}

// answer fills what a caller reads of an attempt that somebody answered.
func (f *fault) answer(opts []grpc.CallOption) {
	if f.Kind == Unsent {
		return // nobody did: there was no connection
	}
	for _, o := range opts {
		if p, ok := o.(grpc.PeerCallOption); ok {
			*p.PeerAddr = peer.Peer{Addr: address{}}
		}
	}
	setTrailer(opts, f.trailer)
}

func setTrailer(opts []grpc.CallOption, md metadata.MD) {
	if len(md) == 0 {
		return
	}
	for _, o := range opts {
		if t, ok := o.(grpc.TrailerCallOption); ok {
			*t.TrailerAddr = md.Copy()
		}
	}
}

// finish calls what grpc-go would call at the end of an attempt.
func finish(opts []grpc.CallOption, err error) {
	for _, o := range opts {
		if f, ok := o.(grpc.OnFinishCallOption); ok {
			f.OnFinish(err)
		}
	}
}

// address is that of the peer of an injected answer.
type address struct{}

// Network implements net.Addr.
func (address) Network() string { return "chaos" }

// String implements net.Addr.
func (address) String() string { return "chaos" }

// corrupt changes a bit of a message. The error is grpc-go's for one that cannot
// be decoded.
func corrupt(m any, u uint64) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return undecodable("it is no proto.Message")
	}
	b, err := proto.Marshal(msg)
	if err != nil || len(b) == 0 {
		return undecodable("it is empty")
	}
	bit := u % uint64(8*len(b))
	b[bit/8] ^= 1 << (bit % 8)
	proto.Reset(msg)
	if err := proto.Unmarshal(b, msg); err != nil {
		proto.Reset(msg)
		return undecodable(err.Error())
	}
	return nil
}

func undecodable(why string) error {
	return status.Error(codes.Internal, "grpc: failed to unmarshal the received message: chaos: corrupt: "+why)
}
