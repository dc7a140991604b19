package overhead

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
)

// Contender is an interceptor that is measured.
type Contender struct {
	Name string
	Ours bool
	call grpc.UnaryClientInterceptor
}

// The contenders of the success path, as rows of the table.
const (
	astraFull = iota
	astraBare
	middleware
	gobreaker
	grpcprom
	chain
	failsafe
	failsafeRetry
	astraHedge
	failsafeHedge
	astraLimit
)

// contenders are those of the success path. A variant of ours is a line here.
func (o *Overhead) contenders() []Contender {
	return []Contender{
		astraFull:     {"astra: retry, budget, breaker, metrics", true, o.suite(peers.Astra())},
		astraBare:     {"astra: the same without metrics", true, o.suite(peers.AstraBare())},
		middleware:    {"go-grpc-middleware retry", false, peers.Middleware()},
		gobreaker:     {"gobreaker", false, peers.Gobreaker()},
		grpcprom:      {"grpcprom", false, peers.Grpcprom()},
		chain:         {"chain: grpcprom, gobreaker, middleware retry", false, peers.Chain()},
		failsafe:      {"failsafegrpc: retry, breaker", false, peers.Failsafe()},
		failsafeRetry: {"failsafegrpc: retry", false, peers.FailsafeRetry()},
		astraHedge:    {"astra: hedge, budget, breaker, metrics", true, o.suite(peers.Astra(peers.AstraArmed()))},
		failsafeHedge: {"failsafegrpc: hedge", false, peers.FailsafeHedge()},
		astraLimit:    {"astra: limits, retry, budget, breaker, metrics", true, o.suite(peers.Astra(peers.AstraLimited()))},
	}
}

// suite returns a suite's interceptor; the suite is closed with o.
func (o *Overhead) suite(s *interceptors.Suite) grpc.UnaryClientInterceptor {
	o.onClose(func() { _ = s.Close() })
	return s.UnaryClientInterceptor()
}

// method is what is called, on the no-op invoker and on the real server.
const method = greeterpb.Greeter_SayHello_FullMethodName

// unused returns a connection that is never used: interceptors read its target.
func (o *Overhead) unused() (*grpc.ClientConn, error) {
	cc, err := grpc.NewClient("passthrough:///bench", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	o.onClose(func() { _ = cc.Close() })
	return cc, nil
}

func request() *greeterpb.HelloRequest { return &greeterpb.HelloRequest{Name: "Ann"} }

// succeed is the no-op invoker: what is measured around it is all overhead.
func succeed(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}
