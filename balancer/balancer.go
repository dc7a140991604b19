// Package balancer is the load-balancing policy of a suite whose
// interceptors.WithBalancing is on. Linking it in registers it with gRPC.
// Package interceptors does that; programs need not import it.
//
// It connects to each endpoint, as round_robin does, and asks the suite which
// ready endpoint an attempt goes to. Without a suite, after its Close for
// example, it is round_robin.
//
// gRPC declares its packages balancer and resolver experimental. Nothing else in
// this module imports them: should a version of grpc-go break this package, build
// with the tag astranobalancer, which leaves it out; connections then use
// round_robin.
package balancer

import (
	"encoding/json"
	"fmt"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"

	"github.com/astra-grpc/astra/internal/fleet"
)

func init() {
	balancer.Register(builder{})
	fleet.Linked()
}

type builder struct{}

// config is the policy's, in a service config.
type config struct {
	serviceconfig.LoadBalancingConfig `json:"-"`

	Suite string `json:"suite"` // its ID
}

func (builder) Name() string { return fleet.Policy }

func (builder) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	c := new(config)
	if err := json.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("%s: %w", fleet.Policy, err)
	}
	return c, nil
}

func (builder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	p := &policy{ClientConn: cc, target: opts.Target.String()}
	p.children = endpointsharding.NewBalancer(p, opts, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
	return p
}

// policy is a connection's. gRPC calls its methods one after another; UpdateState
// is the children's to call, under a lock of their parent's.
type policy struct {
	balancer.ClientConn // to see what the children report
	children            balancer.Balancer
	target              string
	suite               string
	member              atomic.Pointer[fleet.Member] // nil: there is no suite
}

func (p *policy) UpdateClientConnState(s balancer.ClientConnState) error {
	c, _ := s.BalancerConfig.(*config)
	if c == nil {
		c = new(config)
	}
	if p.member.Load() == nil || c.Suite != p.suite {
		p.leave()
		p.suite = c.Suite
		if r := fleet.Find(c.Suite); r != nil {
			p.member.Store(r.Fleet(p.target).Join())
		}
	}
	if m := p.member.Load(); m != nil {
		endpoints := make([]fleet.Endpoint, 0, len(s.ResolverState.Endpoints))
		for _, e := range s.ResolverState.Endpoints {
			endpoints = append(endpoints, endpoint(e))
		}
		m.Resolved(endpoints)
	}
	// The children ask no configuration; their health listener is what
	// client-side health checks and others need, as round_robin has it.
	return p.children.UpdateClientConnState(balancer.ClientConnState{ResolverState: pickfirst.EnableHealthListener(s.ResolverState)})
}

func (p *policy) ResolverError(err error) { p.children.ResolverError(err) }

func (p *policy) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {} // gRPC calls the children

func (p *policy) ExitIdle() { p.children.ExitIdle() }

func (p *policy) Close() {
	p.children.Close()
	p.leave()
}

func (p *policy) leave() {
	if m := p.member.Swap(nil); m != nil {
		m.Leave()
	}
}

// UpdateState is called by the children with what they are in now. While one is
// ready, attempts go to those that are; else what round_robin would do is right.
func (p *policy) UpdateState(s balancer.State) {
	m := p.member.Load()
	if m == nil || s.ConnectivityState != connectivity.Ready {
		if m != nil {
			m.Ready(nil)
		}
		p.ClientConn.UpdateState(s)
		return
	}
	all := endpointsharding.ChildStatesFromPicker(s.Picker)
	var keys []string
	var pickers []balancer.Picker
	for _, child := range all {
		if child.State.ConnectivityState == connectivity.Ready {
			keys = append(keys, endpoint(child.Endpoint).Key)
			pickers = append(pickers, child.State.Picker)
		}
	}
	backends := m.Ready(keys)
	pk := &picker{fleet: m.Fleet()}
	var known []*fleet.Backend
	for i, b := range backends {
		if b == nil {
			continue // of endpoints that have just been replaced
		}
		known = append(known, b)
		pk.backends = append(pk.backends, ready{picker: pickers[i], done: func(balancer.DoneInfo) { b.Meter.Leave() }})
	}
	if len(known) == 0 {
		p.ClientConn.UpdateState(s)
		return
	}
	pk.chooser = fleet.NewChooser(pk.fleet, known, len(all))
	p.ClientConn.UpdateState(balancer.State{ConnectivityState: connectivity.Ready, Picker: pk})
}

// endpoint returns what the suite calls an endpoint: it is judged as one, however
// many addresses it has.
func endpoint(e resolver.Endpoint) fleet.Endpoint {
	addresses := make([]string, 0, len(e.Addresses))
	for _, a := range e.Addresses {
		addresses = append(addresses, a.Addr)
	}
	return fleet.NewEndpoint(addresses)
}

// picker sends attempts where the suite says.
type picker struct {
	fleet    *fleet.Fleet
	chooser  *fleet.Chooser
	backends []ready
}

// ready is a backend with a connection.
type ready struct {
	picker balancer.Picker
	done   func(balancer.DoneInfo) // made once, not for each attempt
}

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	i := p.chooser.Choose(fleet.From(info.Ctx, p.fleet))
	result, err := p.backends[i].picker.Pick(info)
	if err != nil {
		return result, err
	}
	p.chooser.Backend(i).Meter.Enter()
	if theirs := result.Done; theirs != nil {
		ours := p.backends[i].done
		result.Done = func(d balancer.DoneInfo) {
			ours(d)
			theirs(d)
		}
	} else {
		result.Done = p.backends[i].done
	}
	return result, nil
}
