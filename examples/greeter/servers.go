package main

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/astra-grpc/astra/internal/flakyserver"
)

// backendCount is how many servers the show has behind its one target.
const backendCount = 3

// badBackend is the one that goes bad in the act of that name.
const badBackend = backendCount - 1

// backendName is how the view calls them: A, B, C.
func backendName(i int) string { return string(rune('A' + i)) }

// servers are the backends of one target.
type servers []*flakyserver.Server

// serverLog is more attempts than a server sees in a story.
const serverLog = 1 << 14

func startServers(n int) (servers, error) {
	var all servers
	for range n {
		s, err := flakyserver.Start(flakyserver.WithLog(serverLog))
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func (s servers) close() {
	for _, server := range s {
		server.Close()
	}
}

func (s servers) addrs() (all []string) {
	for _, server := range s {
		all = append(all, server.Addr())
	}
	return all
}

// target returns the name of them all, which is the same in the next run, and
// how a client finds them: what elsewhere DNS does, a resolver does here.
func (s servers) target() (string, grpc.DialOption) {
	const scheme = "greeter"
	var found resolver.State
	for _, addr := range s.addrs() {
		found.Endpoints = append(found.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	r := manual.NewBuilderWithScheme(scheme)
	r.InitialState(found)
	return scheme + ":///backends", grpc.WithResolvers(r)
}

// inTurn gives a method's attempts the steps in the order in which they come,
// whichever server they come to.
func (s servers) inTurn(method string, steps []flakyserver.Step) {
	if len(steps) == 0 {
		steps = []flakyserver.Step{flakyserver.OK()}
	}
	var n atomic.Int64
	next := func() flakyserver.Step { return steps[int(n.Add(1)-1)%len(steps)] }
	for _, server := range s {
		server.Func(method, next)
	}
}
