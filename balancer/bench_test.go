package balancer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/serviceconfig"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/fleet"
)

// capture is a policy that builds another and keeps its picker.
type capture struct {
	of  string
	got atomic.Pointer[balancer.State]
}

func (c *capture) Name() string { return "capture_" + c.of }

func (c *capture) Build(cc balancer.ClientConn, o balancer.BuildOptions) balancer.Balancer {
	return balancer.Get(c.of).Build(&captured{cc, c}, o)
}

func (c *capture) ParseConfig(text json.RawMessage) (serviceconfig.LoadBalancingConfig, error) {
	if p, ok := balancer.Get(c.of).(balancer.ConfigParser); ok {
		return p.ParseConfig(text)
	}
	return nil, nil
}

type captured struct {
	balancer.ClientConn
	c *capture
}

func (c *captured) UpdateState(s balancer.State) {
	c.c.got.Store(&s)
	c.ClientConn.UpdateState(s)
}

var (
	roundRobin = &capture{of: "round_robin"}
	astra      = &capture{of: fleet.Policy}
)

func init() {
	balancer.Register(roundRobin)
	balancer.Register(astra)
}

// pickerOf returns the picker of a policy with three backends that are ready.
func pickerOf(b *testing.B, c *capture, suite string) balancer.Picker {
	l := newLab(&testing.T{}, 3, false)
	cc := l.dial(grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{"suite":%q}}]}`, c.Name(), suite)))
	b.Cleanup(func() {
		_ = cc.Close()
		l.close()
	})
	for range 30 {
		if _, err := greeterpb.NewGreeterClient(cc).SayHello(context.Background(), &greeterpb.HelloRequest{}); err != nil {
			b.Fatal(err)
		}
	}
	return c.got.Load().Picker
}

// BenchmarkPick is a pick and its Done, beside round_robin's; "of a call" also
// makes the attempt's context and says how it ended.
func BenchmarkPick(b *testing.B) {
	pick := func(b *testing.B, p balancer.Picker, f *fleet.Fleet) {
		b.ReportAllocs()
		ctx := context.Background()
		for b.Loop() {
			var a *fleet.Attempt
			if f != nil {
				a = fleet.NewAttempt(ctx, f, nil, fleet.Kind{First: true, Steady: true})
				r, err := p.Pick(balancer.PickInfo{Ctx: a})
				if err != nil {
					b.Fatal(err)
				}
				r.Done(balancer.DoneInfo{BytesSent: true})
				a.End(f.Registry().Now(), fleet.End{Good: true, Done: true, Alive: true})
				continue
			}
			r, err := p.Pick(balancer.PickInfo{Ctx: ctx})
			if err != nil {
				b.Fatal(err)
			}
			if r.Done != nil {
				r.Done(balancer.DoneInfo{BytesSent: true})
			}
		}
	}
	b.Run("round_robin", func(b *testing.B) { pick(b, pickerOf(b, roundRobin, ""), nil) })
	for _, policy := range []string{"round_robin", "p2c"} {
		s, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{Policy: policy}))
		if err != nil {
			b.Fatal(err)
		}
		config, err := s.ServiceConfig("")
		if err != nil {
			b.Fatal(err)
		}
		var parsed struct {
			LoadBalancingConfig []map[string]struct{ Suite string }
		}
		if err := json.Unmarshal([]byte(config), &parsed); err != nil {
			b.Fatal(err)
		}
		id := parsed.LoadBalancingConfig[0][fleet.Policy].Suite
		p := pickerOf(b, astra, id)
		f := fleet.Find(id).Fleet("lab:///backends")
		b.Run("balanced "+policy, func(b *testing.B) { pick(b, p, nil) })
		b.Run("balanced "+policy+" of a call", func(b *testing.B) { pick(b, p, f) })
		_ = s.Close()
	}
}

// BenchmarkCall is a call to one of three backends over loopback.
func BenchmarkCall(b *testing.B) {
	for _, c := range []contender{
		bare("round_robin"),
		today("suite over round_robin", interceptors.Policy{}),
		suite("suite, balanced", interceptors.Policy{}, interceptors.WithBalancing(interceptors.Balancing{})),
		suite("suite, p2c", interceptors.Policy{}, interceptors.WithBalancing(interceptors.Balancing{Policy: "p2c"})),
	} {
		b.Run(c.name, func(b *testing.B) {
			l := newLab(&testing.T{}, 3, true)
			defer l.close()
			for _, n := range l.nodes {
				n.do(func(context.Context, string) error { return nil })
			}
			cc, _, end := c.dial(l)
			defer end()
			client := greeterpb.NewGreeterClient(cc)
			req := &greeterpb.HelloRequest{Name: "x"}
			for range 50 {
				_, _ = client.SayHello(context.Background(), req)
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				if _, err := client.SayHello(ctx, req); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
		})
	}
}
