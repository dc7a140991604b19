package flakyserver

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ended is one call's end.
type ended struct {
	n    int // which call
	at   time.Duration
	code codes.Code
}

// burst makes n calls that arrive in turn at one moment, each with a deadline,
// and returns their ends in order.
func (r *rig) burst(n int, deadline time.Duration) []ended {
	start := time.Now()
	ends := make(chan ended, n)
	base := r.Stats(hello).Attempts
	for i := range n {
		go func() {
			ctx, cancel := context.WithTimeout(r.ctx, deadline)
			defer cancel()
			_, err := r.client.SayHello(ctx, request("Ann"))
			ends <- ended{i, time.Since(start), status.Code(err)}
		}()
		synctest.Wait()
		r.await(func() bool { return r.Stats(hello).Attempts == base+int64(i)+1 })
	}
	all := make([]ended, n)
	for i := range all {
		all[i] = <-ends
	}
	slices.SortFunc(all, func(a, b ended) int { return a.n - b.n })
	return all
}

func TestCapacityIsFIFO(t *testing.T) {
	bubble(t, func(r *rig) {
		for i, e := range r.burst(6, time.Hour) {
			want(t, "call", e, ended{i, time.Duration(i/2+1) * time.Second, codes.OK})
		}
	}, WithCapacity(Capacity{Workers: 2, Service: Fixed(time.Second), Queue: -1}))
}

func TestCapacityQueueFull(t *testing.T) {
	for _, c := range []struct {
		full Step
		want codes.Code
	}{{Step{}, codes.ResourceExhausted}, {aborted, codes.Aborted}} {
		bubble(t, func(r *rig) {
			got := r.burst(4, time.Hour)
			want(t, "last", got[3], ended{3, 0, c.want})
			want(t, "before", got[2].code, codes.OK)
			s := r.Stats(hello)
			want(t, "rejected", s.Rejected, 1)
			want(t, "served", s.Served, 3)
		}, WithCapacity(Capacity{Workers: 1, Service: Fixed(time.Second), Queue: 2, Full: c.full}))
	}
}

// Clients leave after 1.5 s: the first has its answer, the second is being
// worked on, the third waits.
func TestCapacityAndClientsThatLeave(t *testing.T) {
	for _, c := range []struct {
		serveExpired    bool
		wasted, dropped int64
		free            time.Duration // when a newcomer has its answer
	}{
		{true, 2, 0, 4 * time.Second},
		{false, 0, 2, 2500 * time.Millisecond},
	} {
		bubble(t, func(r *rig) {
			start := time.Now()
			got := r.burst(3, 1500*time.Millisecond)
			want(t, "first", got[0].code, codes.OK)
			for _, e := range got[1:] {
				want(t, "code", e.code, codes.DeadlineExceeded)
			}
			synctest.Wait()
			r.wantSay(codes.OK)
			want(t, "newcomer", time.Since(start), c.free)
			s := r.Stats(hello)
			want(t, "wasted", s.Wasted, c.wasted)
			want(t, "dropped", s.Dropped, c.dropped)
			want(t, "served", s.Served, 2)
			want(t, "ended", s.Ended, 4)
		}, WithCapacity(Capacity{Workers: 1, Service: Fixed(time.Second), Queue: -1, ServeExpired: c.serveExpired}))
	}
}

func TestOutagesTakeNoCapacity(t *testing.T) {
	over(t, func(r *rig) {
		r.Random(hello, 1)
		r.SetDown(aborted)
		r.wantSay(codes.Aborted)
		want(t, "rejected", r.Stats(hello).Rejected, 0)
	}, WithCapacity(Capacity{Workers: 1, Service: Fixed(time.Hour)}))
}

func TestCloseWithWorkUnderWay(t *testing.T) {
	for _, serveExpired := range []bool{false, true} {
		over(t, func(r *rig) {
			failed := make(chan error)
			for range 3 {
				go func() { _, err := r.say(); failed <- err }()
			}
			r.await(func() bool { return r.Stats(hello).Attempts == 3 })
			r.Close()
			for range 3 {
				wantCode(t, <-failed, codes.Unavailable)
			}
			want(t, "served", r.Stats(hello).Served, 0)
		}, WithCapacity(Capacity{Workers: 1, Service: Fixed(time.Hour), Queue: -1, ServeExpired: serveExpired}))
	}
}

// While stalled, the workers end what they do and begin nothing; after it they
// work off the queue in order.
func TestStall(t *testing.T) {
	bubble(t, func(r *rig) {
		begun := time.Now()
		ends := make(chan ended, 4)
		for i := range 4 {
			if i == 2 {
				r.Stall()
			}
			go func() {
				_, err := r.say()
				ends <- ended{i, time.Since(begun), status.Code(err)}
			}()
			r.await(func() bool { return r.Stats(hello).Attempts == int64(i)+1 })
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		r.Unstall()
		all := []ended{<-ends, <-ends, <-ends, <-ends}
		slices.SortFunc(all, func(a, b ended) int { return a.n - b.n })
		want(t, "begun before the stall", all[0], ended{0, time.Second, codes.OK})
		want(t, "begun before the stall", all[1], ended{1, time.Second, codes.OK})
		want(t, "come during it", all[2], ended{2, 11 * time.Second, codes.OK})
		want(t, "come during it", all[3], ended{3, 11 * time.Second, codes.OK})
		r.wantSay(codes.OK)
		want(t, "after it", time.Since(begun), 12*time.Second)
	}, WithCapacity(Capacity{Workers: 2, Service: Fixed(time.Second), Queue: -1, ServeExpired: true}))
}

// A server that is closed while it is stalled lets nobody wait for ever.
func TestCloseWhileStalled(t *testing.T) {
	over(t, func(r *rig) {
		r.Stall()
		failed := make(chan error)
		go func() { _, err := r.say(); failed <- err }()
		r.await(func() bool { return r.Stats(hello).Attempts == 1 })
		r.Close()
		wantCode(t, <-failed, codes.Unavailable)
	}, WithCapacity(Capacity{Workers: 1, Service: Fixed(0), Queue: -1, ServeExpired: true}))
}

func TestAtOnceKeepsNoWorker(t *testing.T) {
	bubble(t, func(r *rig) {
		r.Stall()
		r.Script(hello, Fail(codes.Unavailable, "turned away").AtOnce())
		r.wantSay(codes.Unavailable)
	}, WithCapacity(Capacity{Workers: 1, Service: Fixed(time.Hour)}))
}

func TestServiceTimes(t *testing.T) {
	draw := func(st ServiceTime) []time.Duration {
		rng := rand.New(rand.NewPCG(7, 0))
		all := make([]time.Duration, 20_000)
		for i := range all {
			all[i] = st(rng)
		}
		return all
	}
	near := func(what string, got, want time.Duration) {
		t.Helper()
		if r := float64(got) / float64(want); r < 0.95 || r > 1.05 {
			t.Errorf("%s: %v, want about %v", what, got, want)
		}
	}
	plain := draw(Lognormal(10*time.Millisecond, 0.5))
	if !slices.Equal(plain, draw(Lognormal(10*time.Millisecond, 0.5))) {
		t.Error("the same seed drew other times")
	}
	slices.Sort(plain)
	near("median", plain[10_000], 10*time.Millisecond)
	near("p95", plain[19_000], 22_800*time.Microsecond)

	stragglers := 0
	for _, d := range draw(Fixed(time.Second).Stragglers(0.1, 20)) {
		if d == 20*time.Second {
			stragglers++
		}
	}
	near("stragglers", time.Duration(stragglers), 2000)
}

// A worker that comes in the moment its attempt leaves goes to the next.
func TestLeaveWithTheWorker(t *testing.T) {
	p := newPool(Capacity{Workers: 1, Queue: -1})
	p.enter()
	turn, _ := p.enter()
	next, _ := p.enter()
	p.release()
	p.leave(turn)
	select {
	case <-next.Value.(chan struct{}):
	default:
		t.Error("the worker is lost")
	}
}
