package sim

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	simulator "github.com/astra-grpc/astra/internal/sim"
)

const ms = time.Millisecond

// TestEventsComeInOrder of time, and of planning.
func TestEventsComeInOrder(t *testing.T) {
	e := newEngine(1, 1)
	type stamp struct {
		at  time.Duration
		seq int
	}
	var got []stamp
	planned := 0
	var plan func(depth int)
	plan = func(depth int) {
		d := time.Duration(e.Rand.IntN(20)) * ms
		planned++
		at, seq := e.Now()+d, planned
		e.After(d, func() {
			if e.Now() != at {
				t.Errorf("an event of %v comes at %v", at, e.Now())
			}
			got = append(got, stamp{at, seq})
			if depth > 0 {
				plan(depth - 1)
				plan(depth - 1)
			}
		})
	}
	for range 100 {
		plan(4)
	}
	e.After(time.Hour, func() { t.Error("an event came after the end") })
	e.After(math.MaxInt64, func() { t.Error("the end of all times came") })
	e.run(time.Hour)
	if e.Now() != time.Hour || len(got) != planned {
		t.Fatalf("%d of %d events by %v", len(got), planned, e.Now())
	}
	if !slices.IsSortedFunc(got, func(a, b stamp) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.seq - b.seq
	}) {
		t.Error("out of order")
	}
}

func TestPoisson(t *testing.T) {
	e := newEngine(1, 1)
	var at []float64
	e.poisson(100, 1000*time.Second, func() { at = append(at, e.Now().Seconds()) })
	e.run(2000 * time.Second)
	n := float64(len(at))
	if n < 98_000 || n > 102_000 || at[len(at)-1] >= 1000 {
		t.Fatalf("%v events, the last at %v", n, at[len(at)-1])
	}
	// Gaps stray by as much as they are long.
	var sum, squares float64
	for i := 1; i < len(at); i++ {
		d := at[i] - at[i-1]
		sum += d
		squares += d * d
	}
	if cv := math.Sqrt(squares/n)/(sum/n) - math.Sqrt2; math.Abs(cv) > 0.03 {
		t.Errorf("root mean square of gaps off by %v", cv)
	}
}

// TestServer follows attempts through queue, stall, outage and cut.
func TestServer(t *testing.T) {
	for _, tc := range []struct {
		name string
		s    server
		sent []time.Duration
		want string
	}{
		{"no queue", server{service: 5 * ms}, []time.Duration{0, 1 * ms}, "0:OK@5ms 1:OK@6ms"},
		{"one worker", server{service: 5 * ms, workers: 1}, []time.Duration{0, 1 * ms, 20 * ms}, "0:OK@5ms 1:OK@10ms 2:OK@25ms"},
		{"two workers", server{service: 5 * ms, workers: 2}, []time.Duration{0, 0, 0}, "0:OK@5ms 1:OK@5ms 2:OK@10ms"},
		{"stalled at work", server{service: 5 * ms, workers: 1, stall: span{2 * ms, 100 * ms}}, []time.Duration{0, 1 * ms}, "0:OK@103ms 1:OK@108ms"},
		{"stalled before", server{service: 5 * ms, workers: 1, stall: span{0, 100 * ms}}, []time.Duration{1 * ms}, "0:OK@105ms"},
		{"down", server{service: 5 * ms, down: span{1 * ms, 2 * ms}}, []time.Duration{0, 1 * ms, 2 * ms}, "1:Unavailable@2ms 0:OK@5ms 2:OK@7ms"},
		{"cut", server{service: 5 * ms, workers: 1, cut: span{1 * ms, 50 * ms}}, []time.Duration{0, 1 * ms, 30 * ms}, "0:OK@5ms 1:OK@55ms 2:OK@60ms"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEngine(1, 1)
			s := tc.s
			s.e = e
			var got string
			for i, at := range tc.sent {
				e.After(at, func() {
					s.send(simulator.NewAttempt(func(c codes.Code) { got += fmt.Sprintf(" %d:%v@%v", i, c, e.Now()) }))
				})
			}
			e.run(time.Hour)
			if got != " "+tc.want {
				t.Errorf("got%s, want %s", got, tc.want)
			}
			if s.busy != 0 {
				t.Errorf("%d workers still at work", s.busy)
			}
		})
	}
}

// TestExpiredWork is served for nobody, or dropped.
func TestExpiredWork(t *testing.T) {
	for drops, want := range map[bool]struct {
		end    time.Duration
		wasted int
	}{false: {30 * ms, 1}, true: {20 * ms, 0}} {
		e := newEngine(1, 1)
		s := &server{e: e, workers: 1, service: 10 * ms, drops: drops}
		var last time.Duration
		note := func(codes.Code) { last = e.Now() }
		s.send(simulator.NewAttempt(note))
		given := simulator.NewAttempt(note)
		s.send(given)
		s.send(simulator.NewAttempt(note))
		e.After(5*ms, func() { given.Answer(codes.DeadlineExceeded) })
		e.run(time.Second)
		if last != want.end || s.wasted != want.wasted {
			t.Errorf("drops %v: done at %v, %d wasted, want %+v", drops, last, s.wasted, want)
		}
	}
}
