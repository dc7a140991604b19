package balancer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
)

// TestChurn: while endpoints come and go, servers restart, calls are cancelled,
// hedged, and fail in every way, none is left in flight, no call ends by a fault
// of ours, and in the end all backends are in.
func TestChurn(t *testing.T) {
	for name, p := range map[string]interceptors.Policy{"retried": attemptTimeout, "hedged": hedged()} {
		for _, policy := range []string{"round_robin", "p2c"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				bubble(t, 4, func(t *testing.T, l *lab) {
					c := newClient(t, l, interceptors.Balancing{Policy: policy, Eject: interceptors.Eject{OpenFor: 200 * time.Millisecond, MaxOpenFor: time.Second}}, p)
					defer c.close()
					churn(t, l, c)
				})
			})
		}
	}
}

func churn(t *testing.T, l *lab, c *client) {
	calls := 20000
	if testing.Short() {
		calls = 2000
	}
	does := []behaviour{works(usual), works(usual), works(10 * usual), fails(codes.Unavailable), hangs, sometimes(0.5, codes.Internal), fails(codes.ResourceExhausted)}
	stop := make(chan struct{})
	var churning sync.WaitGroup
	churning.Go(func() {
		rng := rand.New(rand.NewPCG(1, 2))
		var gone []*node
		for {
			select {
			case <-stop:
				for _, n := range gone {
					n.srv.Stop()
				}
				for _, n := range l.nodes {
					n.do(works(usual))
				}
				return
			case <-time.After(50 * time.Millisecond):
			}
			n := l.nodes[rng.IntN(len(l.nodes))]
			switch rng.IntN(8) {
			case 0:
				i := rng.IntN(len(l.nodes))
				gone = append(gone, l.nodes[i])
				l.nodes[i] = l.node()
				l.resolve()
			case 1:
				restart(l, n)
			default:
				n.do(does[rng.IntN(len(does))])
			}
		}
	})
	var waiting sync.WaitGroup
	for i := range calls {
		time.Sleep(time.Millisecond)
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(10+rand.IntN(1000))*time.Millisecond)
			defer cancel()
			if i%10 == 0 {
				s, err := c.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: fmt.Sprint(i)})
				for err == nil {
					_, err = s.Recv()
				}
				return
			}
			_, _ = c.SayHello(ctx, &greeterpb.HelloRequest{Name: fmt.Sprint(i)})
		})
	}
	close(stop)
	churning.Wait()
	waiting.Wait()
	synctest.Wait()
	for _, b := range c.backends() {
		if b.InFlight != 0 {
			t.Errorf("left in flight: %+v", b)
		}
	}
	for range 1000 { // 20 s
		time.Sleep(20 * time.Millisecond)
		_ = c.say(t, "after")
	}
	for _, b := range c.backends() {
		if b.State != 0 || !b.Ready {
			t.Errorf("20 s after all serve: %+v", b)
		}
	}
	for _, n := range l.nodes {
		if k := n.got("after"); k < 100 {
			t.Errorf("%s got %d of 1000 calls", n.addr, k)
		}
	}
}
