package interceptors_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// answered is what a call gave its caller, kept to be looked at again later.
type answered struct {
	name            string
	request         *greeterpb.HelloRequest
	reply           *greeterpb.HelloReply
	header, trailer metadata.MD
	peer            peer.Peer
	err             error
}

func (a *answered) fault() string {
	attempt := a.header.Get("attempt")
	switch {
	case a.reply.GetMessage() != "Hello "+a.name:
		return fmt.Sprintf("answered %q", a.reply.GetMessage())
	case a.request.GetName() != "reused after "+a.name:
		return fmt.Sprintf("the request reads %q", a.request.GetName())
	case len(attempt) != 1 || len(a.trailer.Get("attempt")) != 1 || attempt[0] != a.trailer.Get("attempt")[0]:
		return fmt.Sprintf("header %v and trailer %v are not one attempt's", a.header, a.trailer)
	case a.peer.Addr == nil:
		return "no peer"
	}
	return ""
}

// TestHedgesCorruptNothing makes 10⁵ calls, under the race detector, to a
// straggling server, each with messages and options of its own, reuses the requests at once, and looks at
// everything again when all losers have had the time to do harm.
func TestHedgesCorruptNothing(t *testing.T) {
	calls, workers := 10_000, 20
	switch {
	case testing.Short():
		calls = 2000
	case raceEnabled:
		calls = 100_000
	}
	server, err := flakyserver.Start(flakyserver.WithLog(0))
	if err != nil {
		t.Fatal(err)
	}
	events := &hedgeCounts{}
	w := dialSuite(t, server, newSuite(t, interceptors.WithObserver(events), interceptors.WithMethodPolicy(method, interceptors.Policy{
		Hedge:  interceptors.Hedge{MaxAttempts: 3, Delay: 5 * ms},
		Budget: interceptors.Budget{Disabled: true},
	})), grpc.WithChainUnaryInterceptor(meddle))
	straggle := func(n int, s flakyserver.Step) flakyserver.Step {
		mark := fmt.Sprint(n)
		return s.Header("attempt", mark).Trailer("attempt", mark)
	}
	var fine, slow, bad []flakyserver.Step
	for n := range 16 {
		fine = append(fine, straggle(n, flakyserver.OK()))
		slow = append(slow, straggle(n, flakyserver.OK().After(time.Duration(3+n%8)*ms)))
		bad = append(bad, straggle(n, flakyserver.Fail(codes.Unavailable, "scripted")))
	}
	w.Random(method, 1, flakyserver.Mix{Rate: 0.8, Steps: fine}, flakyserver.Mix{Rate: 0.18, Steps: slow}, flakyserver.Mix{Rate: 0.02, Steps: bad})

	kept := make([]*answered, calls)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := worker; i < calls; i += workers {
				kept[i] = w.keep(fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.Await(ctx, func() bool { s := w.Stats(method); return s.Attempts == s.Ended }); err != nil {
		t.Fatalf("losers live on: %+v", w.Stats(method))
	}
	faults, failed := 0, 0
	for _, a := range kept {
		if a.err != nil {
			failed++ // three attempts in a row: 8 of a million calls, by chance
		} else if fault := a.fault(); fault != "" {
			if faults++; faults <= 5 {
				t.Errorf("call %s: %s", a.name, fault)
			}
		}
	}
	t.Logf("%d calls, %d attempts, %d corrupted, %d failed, hedges %v", calls, w.Stats(method).Attempts, faults, failed, events.results())
	if failed > 10 {
		t.Errorf("%d calls failed, want about one", failed)
	}
	if events.results()[observe.HedgeWon] < calls/100 {
		t.Error("too few hedges have won to show anything")
	}
}

// keep makes a call, reuses its request, and returns the rest.
func (w *wire) keep(name string) *answered {
	a := &answered{name: name, request: &greeterpb.HelloRequest{Name: name}, reply: new(greeterpb.HelloReply)}
	a.err = w.cc.Invoke(context.Background(), method, a.request, a.reply,
		grpc.Header(&a.header), grpc.Trailer(&a.trailer), grpc.Peer(&a.peer))
	a.request.Name = "reused after " + name
	return a
}

// meddle is an interceptor beneath that looks at messages when it should and
// when it should not, and changes them.
func meddle(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	q, r := req.(*greeterpb.HelloRequest), reply.(*greeterpb.HelloReply)
	name := q.GetName()
	err := invoke(ctx, method, req, reply, cc, opts...)
	if q.GetName() != name {
		panic("a request changed under an attempt")
	}
	if err != nil && rand.IntN(2) == 0 {
		r.Message = "left by a failed attempt"
	}
	q.Name = "changed by an interceptor"
	return err
}

// hedgeCounts counts what became of hedges.
type hedgeCounts struct {
	mu sync.Mutex
	n  map[observe.HedgeResult]int
}

func (c *hedgeCounts) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: c.event}
}

func (c *hedgeCounts) event(_ context.Context, e observe.Event) {
	if e.Kind == observe.Hedged {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.n == nil {
			c.n = map[observe.HedgeResult]int{}
		}
		c.n[e.Hedge]++
	}
}

func (c *hedgeCounts) results() map[observe.HedgeResult]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
