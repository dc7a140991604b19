package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// sayHello is the method's full name, as policies and fallbacks name it.
const sayHello = greeterpb.Greeter_SayHello_FullMethodName

// client is all that the author of a service writes to have calls kept alive:
// a suite, given to grpc.NewClient. Calls are then made as ever.
type client struct {
	greeterpb.GreeterClient

	suite *interceptors.Suite
	conn  *grpc.ClientConn
}

func dial(target string, own []interceptors.Option, more ...grpc.DialOption) (*client, error) {
	var cache lastGreetings
	suite, err := interceptors.New(append(own, // policies, observers, a store; or none: the defaults are sound
		interceptors.WithFallback(sayHello, cache.fallback),            // asked when all else has failed
		interceptors.WithResume(sayHelloServerStream, resumeGreetings), // asked when a stream is cut
	)...)
	if err != nil {
		return nil, err // every fault of every policy at once
	}
	opts := append(suite.DialOptions(), // first, so outermost: what follows sees each attempt
		grpc.WithChainUnaryInterceptor(cache.remember),
		grpc.WithChainStreamInterceptor(offsets), // what a server had better do
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(target, append(opts, more...)...)
	if err != nil {
		_ = suite.Close()
		return nil, fmt.Errorf("cannot dial %s: %w", target, err)
	}
	return &client{greeterpb.NewGreeterClient(conn), suite, conn}, nil
}

// close ends the connection, then the suite, whose observers hear the last of
// what is queued for them.
func (c *client) close() {
	_ = c.conn.Close()
	_ = c.suite.Close()
}

// lastGreetings remembers each name's last greeting: the stale answer that is
// better than none.
type lastGreetings struct{ byName sync.Map }

// remember is an interceptor inside the suite. It sees attempts, hence only
// what the server itself has said, and never an answer of the fallback.
func (g *lastGreetings) remember(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, cc, opts...)
	if r, ok := reply.(*greeterpb.HelloReply); ok && err == nil {
		g.byName.Store(req.(*greeterpb.HelloRequest).GetName(), r.GetMessage())
	}
	return err
}

// cachedMark shows the reader of a greeting that it is an old one.
const cachedMark = " (cached)"

// fallback is an [interceptors.Fallback].
func (g *lastGreetings) fallback(_ context.Context, _ string, req, reply any, err error) error {
	greeting, ok := g.byName.Load(req.(*greeterpb.HelloRequest).GetName())
	if !ok {
		return err // nothing to offer: the caller is to see what happened
	}
	reply.(*greeterpb.HelloReply).Message = greeting.(string) + cachedMark
	return nil
}

// demoPolicy is the default policy, except for what would make the story long.
// A story played faster has shorter waits in proportion.
func demoPolicy(pace float64) interceptors.Policy {
	fast := func(d time.Duration) time.Duration { return time.Duration(float64(d) / pace) }
	return interceptors.Policy{
		Retry: interceptors.Retry{
			// The default waits about 500 ms and 1 s, right for users who can
			// wait. This server answers in 10 ms, and callers wait 1 s at most.
			Backoff: jitter.Backoff{Base: fast(50 * time.Millisecond)},
		},
		Budget: interceptors.Budget{
			// Enough for the faults, little enough to be seen to run dry within
			// the first moments of the outage.
			Burst: 30,
			// The default; only its clock runs faster.
			MinPerSecond: 0.1 * pace,
		},
		Breaker: interceptors.Breaker{
			OpenFor: fast(time.Second), // the default
			// Probes every two seconds: the default of a minute is for
			// outages longer than this program.
			MaxOpenFor: fast(2 * time.Second),
		},
	}
}

// demoBalancing is the default, but as for the breaker for its longest wait, and
// played faster.
func demoBalancing(pace float64) interceptors.Balancing {
	b := demoPolicy(pace).Breaker
	return interceptors.Balancing{Eject: interceptors.Eject{OpenFor: b.OpenFor, MaxOpenFor: b.MaxOpenFor}}
}

// knobs describes what of demoPolicy(1) is not the default.
const knobs = `the defaults, but to make the story a short one
          Retry.Backoff.Base 50 ms (500 ms), Budget.Burst 30 (50),
          Breaker.MaxOpenFor 2 s (60 s)`
