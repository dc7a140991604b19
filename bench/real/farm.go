package real

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// farm is a contender's connection to several servers behind one target. Its
// server is the one that goes bad.
type farm struct {
	rig
	servers []*flakyserver.Server
}

func newFarm(ctx context.Context, c peers.Client, n int, usual flakyserver.Step) (*farm, error) {
	var (
		f     farm
		found resolver.State
		free  = func() {}
	)
	f.close = func() {
		if f.cc != nil {
			_ = f.cc.Close()
		}
		for _, s := range f.servers {
			s.Close()
		}
		free()
	}
	for range n {
		s, err := flakyserver.Start(flakyserver.WithLog(0))
		if err != nil {
			f.close()
			return nil, err
		}
		s.Always(hello, usual)
		f.servers = append(f.servers, s)
		found.Endpoints = append(found.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: s.Addr()}}})
	}
	names := manual.NewBuilderWithScheme("bench")
	names.InitialState(found)
	var opts []grpc.DialOption
	opts, free = c.Options()
	cc, err := grpc.NewClient("bench:///backends", append(opts, grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		f.close()
		return nil, err
	}
	f.server, f.cc, f.stub = f.servers[0], cc, greeterpb.NewGreeterClient(cc)
	if err := f.connect(ctx, c.Name); err != nil {
		f.close()
		return nil, err
	}
	return &f, nil
}

// attempts are those that came to the bad server, and to all.
func (f *farm) attempts() (bad, all int64) {
	for i, s := range f.servers {
		n := s.Stats(hello).Attempts
		all += n
		if i == 0 {
			bad = n
		}
	}
	return bad, all
}
