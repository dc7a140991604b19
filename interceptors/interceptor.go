package interceptors

import (
	"context"

	"google.golang.org/grpc"
)

// unary returns the interceptor of unary calls.
func (s *Suite) unary(l *nativeRetryCheck) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		with := readCallOptions(opts)
		if with.err != nil {
			onFinish(opts, with.err)
			return with.err
		}
		u := unaryCalls.Get().(*unaryCall)
		p, unchecked := s.planOf(cc, method, l, &u.last)
		u.method, u.req, u.reply, u.cc, u.invoker = method, req, reply, cc, invoker
		policy := with.apply(p)
		if l == nil {
			u.inherits = policy
		}
		err := u.make(ctx, &s.Host, &s.lateFailure, p, policy, opts)
		if unchecked && err == nil {
			l.checkOnce(s.Log, p, cc, method)
		}
		return err
	}
}

// stream returns the interceptor of streams.
func (s *Suite) stream(l *nativeRetryCheck) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		with := readCallOptions(opts)
		if with.err != nil {
			onFinish(opts, with.err)
			return nil, with.err
		}
		p, unchecked := s.planOf(cc, method, l, nil)
		check := func() {}
		if unchecked {
			check = func() { l.checkOnce(s.Log, p, cc, method) }
		}
		policy := with.apply(p)
		spec := streamSpec{
			desc: desc, cc: cc, method: method, streamer: streamer, theirs: opts,
			plan: p, late: &s.lateFailure, ledger: &s.replay,
		}
		if l == nil {
			spec.inherits = policy
		}
		st, err := newStream(ctx, spec, &s.Host, &policy.Policy, check)
		if err != nil {
			return nil, err
		}
		return st, nil
	}
}
