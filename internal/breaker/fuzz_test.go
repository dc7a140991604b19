package breaker

import (
	"testing"
	"time"
)

// FuzzEvents plays calls, their ends, time and reloads in any order to a breaker:
// no more than Probes probes are in flight, those that have expired excepted; who
// is refused gets a wait that ends; no open time is longer than MaxOpenFor; an
// open breaker lets nobody pass but probes; and it is never stuck.
func FuzzEvents(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 2, 200, 0, 1, 3})
	f.Add([]byte{7, 2, 5, 0, 1, 4, 0, 3, 2, 255, 6, 9, 1, 1, 5, 40, 2, 90})
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
			cfg := testConfig()
			cfg.Probes, cfg.Consecutive, cfg.MinCalls = 1+next()%3, 1+next()%5, 1+next()%9
			cfg.ProbeShare = float64(next()%3) / 10
			return cfg
		}
		cfg := config()
		g := NewGuard(cfg)
		type held struct {
			token Token
			at    time.Duration
		}
		var (
			now   time.Duration
			calls []held
		)
		most := cfg.Probes // of all configurations: a reload takes no probe its slot
		for len(data) > 0 {
			switch next() % 7 {
			case 0, 1:
				state := g.At(now)
				token, change, wait, ok := g.Admit(now)
				switch {
				case ok && state == Open && !token.Probe():
					t.Fatalf("an open breaker let a call pass that is no probe: %v", change)
				case ok && state == Closed && token.Probe():
					t.Fatal("a closed breaker probes")
				case ok:
					calls = append(calls, held{token, now})
				case state == Closed:
					t.Fatal("a closed breaker refuses")
				case wait < 0 || wait > cfg.MaxOpenFor && wait > cfg.OpenFor:
					t.Fatalf("refused for %v", wait)
				}
				probes := 0
				for _, c := range calls {
					if c.token.Probe() && !g.stale(c.token) && now-c.at < cfg.ProbeTTL {
						probes++
					}
				}
				if probes > most && cfg.ProbeShare == 0 {
					t.Fatalf("%d probes in flight, want %d at most", probes, most)
				}
			case 2:
				now += time.Duration(next()) * time.Duration(next()+1) * 10 * time.Millisecond
			case 3, 4:
				if len(calls) > 0 {
					i := next() % len(calls)
					g.Settle(now, calls[i].token, Outcome(next()%5), float64(next())/256)
					calls = append(calls[:i], calls[i+1:]...)
				}
			case 5:
				cfg = config()
				most = max(most, cfg.Probes)
				g.Reconfigure(now, cfg)
			case 6:
				s, ok := g.Snapshot(now)
				if ok != (g.At(now) != Closed) && ok {
					t.Fatalf("a snapshot %+v of a closed breaker", s)
				}
				if s.Left < 0 || s.Left > time.Minute+time.Minute/5 || s.Openings < 0 {
					t.Fatalf("snapshot %+v", s)
				}
				other := NewGuard(cfg)
				if other.Restore(now, s, Restored); ok && other.At(now) == Closed && s.Left > 0 {
					t.Fatalf("%+v restored is closed", s)
				}
			}
		}
		// Whatever came before: after the longest times a call may pass, and enough
		// good ones close it.
		for range 2 * most {
			now += 2*cfg.MaxOpenFor + cfg.ProbeTTL
			token, _, _, ok := g.Admit(now)
			if !ok {
				t.Fatalf("nobody may pass after %v in state %v", 2*cfg.MaxOpenFor+cfg.ProbeTTL, g.At(now))
			}
			g.Settle(now, token, Success, 0.5)
		}
		if s := g.At(now); s != Closed {
			t.Fatalf("it is %v after %d successes", s, 2*most)
		}
	})
}

// stale reports whether what a token says is heard no more.
func (g *Guard) stale(t Token) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.gen != g.m.gen
}
