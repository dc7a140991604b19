package limit

import (
	"testing"
	"time"
)

// FuzzEvents plays calls that enter, wait, give up and leave, time and reloads in
// any order: no more are in flight or wait than are allowed, nobody is admitted and
// forgotten, and when all have left, nothing is held.
func FuzzEvents(f *testing.F) {
	f.Add([]byte{2, 3, 5, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 1, 1, 1})
	f.Add([]byte{1, 9, 0, 1, 4, 0, 0, 0, 3, 100, 2, 0, 2, 1, 5, 3, 3, 3, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b)
		}
		config := func() Config {
			cfg := Config{MaxConcurrent: 1 + next()%8, MaxQueue: next() % 6, MaxWait: time.Duration(next()%20) * 10 * time.Millisecond}
			if next()%3 == 0 {
				cfg.Rate, cfg.Burst = float64(1+next()), 1+next()%5
			}
			cfg.Adaptive = next()%4 == 0
			return cfg
		}
		var (
			now      time.Duration
			cfg      = config()
			g        = NewGuard(now, cfg)
			inFlight int
			waiting  []*Ticket
			most     = cfg.MaxConcurrent // those in flight keep their slots when the bound falls
			queue    = cfg.MaxQueue
		)
		// heard takes those from the queue whose wait is over.
		heard := func() {
			rest := waiting[:0]
			for _, ticket := range waiting {
				switch g.Poll(now, ticket).Verdict {
				case Admitted:
					inFlight++
				case Waiting:
					rest = append(rest, ticket)
				}
			}
			waiting = rest
		}
		for len(data) > 0 {
			switch next() % 6 {
			case 0, 1:
				answer, ticket := g.Enter(now, Forever)
				if (ticket != nil) != (answer.Verdict == Waiting) {
					t.Fatalf("verdict %v, ticket %v", answer.Verdict, ticket)
				}
				if answer.Verdict == Admitted {
					inFlight++
				} else if ticket != nil {
					waiting = append(waiting, ticket)
				}
			case 2:
				if inFlight > 0 {
					inFlight--
					g.Leave(now, Sample{Latency: time.Duration(next()) * time.Millisecond, Overload: next()%5 == 0})
				}
			case 3:
				now += time.Duration(next()) * time.Millisecond
			case 4:
				if len(waiting) > 0 {
					i := next() % len(waiting)
					g.Cancel(now, waiting[i])
					waiting = append(waiting[:i:i], waiting[i+1:]...)
				}
			case 5:
				cfg = config()
				most, queue = max(most, cfg.MaxConcurrent), max(queue, cfg.MaxQueue)
				g.Reconfigure(now, cfg)
			}
			heard()
			n, w, _, _ := g.Level()
			if n != inFlight || w != len(waiting) {
				t.Fatalf("it holds %d slots and %d places, its callers %d and %d", n, w, inFlight, len(waiting))
			}
			if n > most || w > queue {
				t.Fatalf("%d in flight and %d waiting, want %d and %d at most", n, w, most, queue)
			}
		}
		for _, ticket := range waiting {
			g.Cancel(now, ticket)
		}
		for range inFlight {
			g.Leave(now, Sample{})
		}
		if n, w, _, _ := g.Level(); n != 0 || w != 0 {
			t.Fatalf("all have left, and %d slots and %d places are held", n, w)
		}
	})
}
