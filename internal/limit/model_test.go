package limit

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tick is the model's unit of time. Tokens are counted in 64ths: a rate of r
// adds r of these a tick, so the model reckons in whole numbers.
const (
	tick  = time.Second / 64
	token = 64
)

// model is what a limit does, in the plainest words: a list of those in flight,
// a list of those who wait.
type model struct {
	cfg    Config
	now    int // ticks
	tokens int
	flying []int
	line   []modelWait

	flow []int // what the rate has added, up to each tick
	gone []int // when those went that hold, or held, a token
}

type modelWait struct {
	id    int
	until int // a tick, or -1
}

func newModel(cfg Config) *model {
	return &model{cfg: cfg, tokens: cfg.Burst * token, flow: []int{0}}
}

func (m *model) pass(ticks int) {
	for range ticks {
		m.now++
		m.tokens = min(m.cfg.Burst*token, m.tokens+int(m.cfg.Rate))
		m.flow = append(m.flow, m.flow[len(m.flow)-1]+int(m.cfg.Rate))
		m.settle()
	}
}

func (m *model) hasSlot() bool {
	return m.cfg.MaxConcurrent == 0 || len(m.flying) < m.cfg.MaxConcurrent
}
func (m *model) hasToken() bool { return m.cfg.Rate == 0 || m.tokens >= token }

func (m *model) goes(id int) {
	m.flying = append(m.flying, id)
	if m.cfg.Rate > 0 {
		m.tokens -= token
		m.gone = append(m.gone, m.now)
	}
}

// settle lets go whoever can, first come first served, then drops those whose
// time is up.
func (m *model) settle() {
	for len(m.line) > 0 && m.hasSlot() && m.hasToken() {
		m.goes(m.line[0].id)
		m.line = m.line[1:]
	}
	m.line = slices.DeleteFunc(m.line, func(w modelWait) bool { return w.until >= 0 && w.until <= m.now })
}

// enter also returns the verdict.
func (m *model) enter(id, patience int) Verdict {
	if m.cfg.MaxWait > 0 {
		patience = min(patience, int(m.cfg.MaxWait/tick))
	}
	short := (len(m.line)+1)*token - m.tokens
	switch {
	case len(m.line) == 0 && m.hasSlot() && m.hasToken():
		m.goes(id)
		return Admitted
	case m.cfg.MaxQueue == 0 && m.hasSlot():
		return RateLimited
	case len(m.line) >= m.cfg.MaxQueue:
		return QueueFull
	case m.cfg.Rate > 0 && short > int(m.cfg.Rate)*patience:
		return RateLimited
	}
	w := modelWait{id, -1}
	if m.cfg.MaxWait > 0 {
		w.until = m.now + int(m.cfg.MaxWait/tick)
	}
	m.line = append(m.line, w)
	return Waiting
}

// leave ends a call in flight; unsent: it was not made after all.
func (m *model) leave(id int, unsent bool) {
	i := slices.Index(m.flying, id)
	m.flying = slices.Delete(m.flying, i, i+1)
	if unsent && m.cfg.Rate > 0 {
		m.tokens = min(m.cfg.Burst*token, m.tokens+token)
	}
	m.settle()
}

func (m *model) cancel(id int) {
	m.line = slices.DeleteFunc(m.line, func(w modelWait) bool { return w.id == id })
	m.settle()
}

func (m *model) reconfigure(cfg Config) {
	m.cfg = cfg
	m.tokens = min(m.tokens, cfg.Burst*token)
	m.settle()
}

// ticksToToken is how long it takes until the first in the line has its token.
func (m *model) ticksToToken() int {
	n := 0
	for t := m.tokens; t < token; n++ {
		t += int(m.cfg.Rate)
	}
	return n
}

func drawConfig(t *rapid.T, rated bool) (c Config) {
	c.MaxConcurrent = rapid.IntRange(0, 4).Draw(t, "MaxConcurrent")
	if rated {
		c.Rate = float64(rapid.IntRange(1, 40).Draw(t, "Rate"))
		c.Burst = rapid.IntRange(1, 5).Draw(t, "Burst")
	}
	if c.MaxConcurrent > 0 || rated {
		c.MaxQueue = rapid.IntRange(0, 5).Draw(t, "MaxQueue")
		c.MaxWait = tick * time.Duration(rapid.IntRange(0, 40).Draw(t, "MaxWait"))
	}
	return c
}

// caller is one whose ticket waits, with what its driver would know.
type caller struct {
	id     int
	ticket *Ticket
	at     time.Duration // when its timer fires
}

// TestGuardAgainstModel: whatever comes, goes, gives up and is reconfigured, in
// flight and waiting are exactly those of the model, those who may go have been
// woken, and the first in the line has its timer set for the tick that brings
// its token.
func TestGuardAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rated := rapid.Bool().Draw(t, "rated")
		cfg := drawConfig(t, rated)
		m, g := newModel(cfg), NewGuard(0, cfg)
		now := func() time.Duration { return time.Duration(m.now) * tick }
		var waiting []caller
		var flying []int
		burst, next := cfg.Burst, 0

		// giveUp may come when the call has been admitted and does not know yet.
		giveUp := func(c caller) {
			g.Cancel(now(), c.ticket)
			if !slices.Contains(m.flying, c.id) {
				m.cancel(c.id)
				return
			}
			if m.leave(c.id, true); rated {
				m.gone = m.gone[:len(m.gone)-1]
			}
		}
		// drive does what the callers' goroutines would: wake up, ask, go.
		drive := func() {
			poll := func(c caller) (out bool) {
				switch g.Poll(now(), c.ticket).Verdict {
				case Admitted:
					flying = append(flying, c.id)
					return true
				case QueueTimeout:
					return true
				}
				return false
			}
			timers := func(c caller) bool { return c.at <= now() && poll(c) }
			waiting = slices.DeleteFunc(waiting, timers)
			for woken := true; woken; {
				woken = false
				waiting = slices.DeleteFunc(waiting, func(c caller) bool {
					select {
					case <-c.ticket.Ready:
						woken = true
					default:
						return false
					}
					if rapid.IntRange(0, 15).Draw(t, "gives up") == 0 {
						giveUp(c)
						return true
					}
					return poll(c)
				})
			}
			for i := range waiting { // as Poll returned them
				waiting[i].at = min(waiting[i].ticket.asks, waiting[i].ticket.until)
			}
		}
		leave := func() {
			i := rapid.IntRange(0, len(flying)-1).Draw(t, "who")
			id := flying[i]
			flying = slices.Delete(flying, i, i+1)
			unsent := rapid.IntRange(0, 3).Draw(t, "sent") == 0
			switch {
			case unsent:
				g.Return(now())
			case rapid.Bool().Draw(t, "free") && g.LeaveFree():
			default:
				g.Leave(now(), Sample{})
			}
			if m.leave(id, unsent); unsent && rated {
				m.gone = m.gone[:len(m.gone)-1] // whose token it was does not matter
			}
		}
		steps := rapid.IntRange(1, 150).Draw(t, "steps")
		for range steps {
			before := fmt.Sprint(m.flying, m.line)
			switch action := rapid.IntRange(0, 9).Draw(t, "action"); {
			case action < 4:
				patience := rapid.IntRange(0, 60).Draw(t, "patience")
				if len(m.line) > 0 && m.hasSlot() && g.EnterFree() {
					t.Fatalf("overtook %v", m.line)
				}
				want := m.enter(next, patience)
				if rapid.Bool().Draw(t, "free") && g.EnterFree() {
					if want != Admitted {
						t.Fatalf("entered freely, want %v", want)
					}
					flying = append(flying, next)
				} else {
					a, ticket := g.Enter(now(), time.Duration(patience)*tick)
					if a.Verdict != want || (ticket != nil) != (want == Waiting) {
						t.Fatalf("%v, want %v", a.Verdict, want)
					}
					switch want {
					case Admitted:
						flying = append(flying, next)
					case Waiting:
						waiting = append(waiting, caller{next, ticket, a.At})
					}
				}
				next++
			case action < 6:
				ticks := rapid.IntRange(1, 10).Draw(t, "ticks")
				for range ticks { // timers fire when they are due
					m.pass(1)
					drive()
				}
			case action < 8:
				if len(flying) > 0 {
					leave()
				}
			case action < 9:
				if len(waiting) > 0 {
					i := rapid.IntRange(0, len(waiting)-1).Draw(t, "who")
					giveUp(waiting[i])
					waiting = slices.Delete(waiting, i, i+1)
				}
			default:
				cfg = drawConfig(t, rated)
				burst = max(burst, cfg.Burst)
				g.Reconfigure(now(), cfg)
				m.reconfigure(cfg)
			}
			drive()

			var line []int
			for _, c := range waiting {
				line = append(line, c.id)
			}
			var want []int
			for _, w := range m.line {
				want = append(want, w.id)
			}
			slices.Sort(flying)
			should := slices.Sorted(slices.Values(m.flying))
			if !slices.Equal(flying, should) || !slices.Equal(line, want) {
				t.Fatalf("before: %s\nin flight %v, want %v\nwaiting %v, want %v", before, flying, should, line, want)
			}
			in, in2, most, bounded := g.Level()
			if in != len(flying) || in2 != len(waiting) || bounded != (cfg.MaxConcurrent > 0) || bounded && most != cfg.MaxConcurrent {
				t.Fatalf("level %d %d %d %v, want %d %d %d", in, in2, most, bounded, len(flying), len(waiting), cfg.MaxConcurrent)
			}
			if len(waiting) > 0 && rated && m.hasSlot() {
				if due := now() + time.Duration(m.ticksToToken())*tick; waiting[0].at > due {
					t.Fatalf("its token comes at %v, its timer is set for %v", due, waiting[0].at)
				}
			}
		}
		if rated {
			for i := range m.gone { // over any span
				for j := i; j < len(m.gone); j++ {
					if n, bound := (j-i+1)*token, m.flow[m.gone[j]]-m.flow[m.gone[i]]+burst*token; n > bound {
						t.Fatalf("%d went between %d and %d: bound %d/64", j-i+1, m.gone[i], m.gone[j], bound)
					}
				}
			}
		}
		for len(waiting) > 0 { // nothing is lost
			c := waiting[0]
			waiting = waiting[1:]
			giveUp(c)
			drive()
		}
		for len(flying) > 0 {
			leave()
		}
		m.pass(token * 5)
		drive()
		if !g.Idle(now()) {
			t.Fatal("not idle in the end")
		}
		if w := g.word.Load() & countMask; w != 0 {
			t.Fatalf("%d in flight in the end", w)
		}
	})
}

// A token that has come by the clock is the first waiter's, even if that one's
// timer has not fired yet.
func TestNobodyOvertakes(t *testing.T) {
	g := NewGuard(0, Config{Rate: 1, Burst: 1, MaxQueue: 2})
	g.Enter(0, Forever)
	_, first := g.Enter(0, Forever)
	if a, _ := g.Enter(time.Second, Forever); a.Verdict != Waiting || a.At != 2*time.Second {
		t.Errorf("a second later a newcomer gets %+v, want it to wait for the next token", a)
	}
	if a := g.Poll(time.Second, first); a.Verdict != Admitted {
		t.Errorf("the first gets %+v", a)
	}
}

// The queue alone, one story at a time.
func TestStories(t *testing.T) {
	const s = time.Second
	type answer struct {
		Verdict
		at, after time.Duration
	}
	for name, story := range map[string]func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)){
		"no queue": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{MaxConcurrent: 1})
			_, _ = enter(0, s)
			if a, _ := enter(0, s); a.Verdict != QueueFull || a.after != minAfter {
				t.Errorf("%+v", a)
			}
			if a, _ := enter(3*s, s); a.Verdict != QueueFull || a.after != 3*s {
				t.Errorf("%+v after 3 s without a free slot", a)
			}
			q.Leave(4*s, Sample{})
			_, _ = enter(4*s, s)
			if a, _ := enter(4*s, s); a.Verdict != QueueFull || a.after != 4*s {
				t.Errorf("%+v, want the pace of late", a)
			}
		},
		"fewer slots than calls in flight": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{MaxConcurrent: 4})
			for range 4 {
				_, _ = enter(0, s)
			}
			q.Reconfigure(0, Config{MaxConcurrent: 1, MaxQueue: 1})
			_, first := enter(s, Forever) // a slot is wanted from here on
			q.Leave(2*s, Sample{})
			if a, _ := enter(10*s, s); a.Verdict != QueueFull || a.after != 2*8*s {
				t.Errorf("%+v, want two slots of 8 s, since one call waits all that time", a)
			}
			q.Cancel(10*s, first)
			q.Leave(10*s, Sample{}) // nobody waits any more
			q.Reconfigure(10*s, Config{MaxConcurrent: 1})
			if a, _ := enter(60*s, s); a.Verdict != QueueFull || a.after >= 50*s {
				t.Errorf("%+v, want no pace of a time when nobody wanted a slot", a)
			}
		},
		"given back twice": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{MaxConcurrent: 1, MaxQueue: 2})
			_, _ = enter(0, Forever)
			_, first := enter(0, Forever)
			_, second := enter(0, Forever)
			q.Leave(s, Sample{})
			if q.Promote(s) != first {
				t.Fatal("the first does not go")
			}
			q.Cancel(s, first)
			if q.Promote(s) != second {
				t.Fatal("the second does not go, though the first gave its slot back")
			}
			q.Cancel(s, first) // has nothing any more
			if a, _ := enter(s, 0); a.Verdict == Admitted {
				t.Errorf("%+v beside the second, of one slot", a)
			}
		},
		"the first goes, others wait on": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{MaxConcurrent: 1, MaxQueue: 2})
			for range 3 {
				_, _ = enter(0, Forever)
			}
			q.Leave(s, Sample{})
			if q.Promote(s) == nil {
				t.Fatal("nobody goes")
			}
			_, _ = enter(5*s, Forever)
			if a, _ := enter(5*s, Forever); a.Verdict != QueueFull || a.after != 3*4*s {
				t.Errorf("%+v, want three slots of the 4 s that one has waited since", a)
			}
		},
		"nobody waits on": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{MaxConcurrent: 1, MaxQueue: 1})
			_, _ = enter(0, Forever)
			_, _ = enter(0, Forever)
			q.Leave(s, Sample{})
			_ = q.Promote(s)
			_, _ = enter(60*s, Forever)
			if a, _ := enter(60*s, Forever); a.Verdict != QueueFull || a.after != 2*s {
				t.Errorf("%+v, want two slots of 1 s: nobody has wanted one since", a)
			}
		},
		"rate": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{Rate: 2, Burst: 1})
			_, _ = enter(0, s)
			if a, _ := enter(s/4, s); a.Verdict != RateLimited || a.after != s/4 {
				t.Errorf("%+v", a)
			}
			if a, _ := enter(s/2, s); a.Verdict != Admitted {
				t.Errorf("%+v", a)
			}
		},
		"rate with a queue": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{Rate: 2, Burst: 1, MaxQueue: 2, MaxWait: s})
			_, _ = enter(0, s)
			if a, ticket := enter(0, s); a.Verdict != Waiting || a.at != s/2 || ticket == nil {
				t.Errorf("%+v", a)
			}
			if a, _ := enter(0, s-1); a.Verdict != RateLimited || a.after != s {
				t.Errorf("%+v, want it refused: its token comes in a second", a)
			}
			if a, _ := enter(0, s); a.Verdict != Waiting || a.at != s {
				t.Errorf("%+v", a)
			}
			if a, _ := enter(0, Forever); a.Verdict != QueueFull || a.after != 3*s/2 {
				t.Errorf("%+v", a)
			}
		},
		"a token that nobody has been promoted to": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{Rate: 1, Burst: 1, MaxQueue: 2})
			_, _ = enter(0, s)
			_, first := enter(0, s)
			if a, _ := enter(s, s); a.Verdict != Waiting {
				t.Errorf("%+v, ahead of one that waits", a)
			}
			if q.Promote(s) != first || q.Promote(s) != nil {
				t.Error("want the first, and nobody else")
			}
		},
		"a slow rate": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{Rate: 1e-12, Burst: 1, MaxQueue: 1})
			_, _ = enter(0, s)
			if a, _ := enter(0, s); a.Verdict != RateLimited || a.after != Forever {
				t.Errorf("%+v", a)
			}
			if a, _ := enter(0, Forever); a.Verdict != Waiting || a.at != Forever {
				t.Errorf("%+v", a)
			}
		},
		"off and on": func(t *testing.T, q *Queue, enter func(now, patience time.Duration) (answer, *Ticket)) {
			q.Reconfigure(0, Config{Rate: 1, Burst: 2})
			_, _ = enter(0, s)
			_, _ = enter(0, s)
			q.Reconfigure(0, Config{})
			for range 5 {
				if a, _ := enter(0, s); a.Verdict != Admitted {
					t.Errorf("%+v while it is off", a)
				}
			}
			q.Reconfigure(10*s, Config{Rate: 1, Burst: 2})
			if a, _ := enter(10*s, s); a.Verdict != RateLimited || a.after != s {
				t.Errorf("%+v, want what was left", a)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := NewQueue(0, Config{})
			story(t, &q, func(now, patience time.Duration) (answer, *Ticket) {
				a, ticket := q.Enter(now, patience)
				return answer{a.Verdict, a.At, a.After}, ticket
			})
		})
	}
}

func TestVerdictNames(t *testing.T) {
	var got []string
	for v := Admitted; v <= RateLimited+1; v++ {
		got = append(got, v.String())
	}
	if want := "[admitted waiting queue_full queue_timeout rate_limited invalid]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}
