package fleet

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/backend"
	"github.com/astra-grpc/astra/internal/breaker"
)

// Chooser chooses among the backends that are ready on a connection. It is made
// anew when they change; it is safe for concurrent use.
type Chooser struct {
	fleet    *Fleet
	backends []*Backend
	resolved int // backends that the connection knows of
	next     atomic.Uint32
	belief   atomic.Uint64 // whether the ejected are believed out, as of a version of the fleet in which none was drained
}

// NewChooser returns a chooser. There must be a backend, and all must be the
// fleet's; resolved counts those that are not ready, too.
func NewChooser(f *Fleet, ready []*Backend, resolved int) *Chooser {
	c := &Chooser{fleet: f, backends: ready, resolved: max(resolved, len(ready))}
	c.next.Store(uint32(f.registry.draw(math.MaxInt32)))
	return c
}

// Backend returns one by its number.
func (c *Chooser) Backend(i int) *Backend { return c.backends[i] }

// Choose returns which backend an attempt goes to, by number. The attempt is
// noted to have gone there; nil: it is none of the suite's.
func (c *Chooser) Choose(a *Attempt) int {
	r := c.fleet.registry
	if r.Closed() {
		return c.turn()
	}
	s := selection{chooser: c, attempt: a, cfg: r.Config(), now: r.Now()}
	i, token := s.run()
	b := c.backends[i]
	b.picked.Store(int64(s.now))
	if a != nil {
		if !c.fleet.picked.Load() {
			c.fleet.picked.Store(true)
		}
		a.chosen(s.now, c, b, token)
	}
	return i
}

// turn returns the backend whose turn it is.
func (c *Chooser) turn() int { return int(c.next.Add(1) % uint32(len(c.backends))) }

// believe returns whether ejected backends are believed out on this connection: if
// they are few enough, and not all there are; and whether the drained are: if there
// is another. judged does not ask whether ejections keep attempts away.
func (c *Chooser) believe(cfg *Config, now time.Duration) (judged, drained bool) {
	v := c.fleet.version.Load()
	if known := c.belief.Load(); known>>1 == v {
		return known&1 == 1, false
	}
	ejected, held := 0, 0
	for _, b := range c.backends {
		switch {
		case b.drained(now):
			held++
		case !b.closed():
			ejected++
		}
	}
	in := len(c.backends) - held
	judged = !cfg.EjectOff && ejected > 0 && ejected < in && ejected <= backend.Most(c.undrained(held), cfg.MaxShare)
	if cfg.steers() {
		in -= ejected
	}
	if c.fleet.held.Load() > 0 { // which ends by itself
		return judged, held > 0 && in > 0
	}
	word := v << 1
	if judged {
		word |= 1
	}
	c.belief.Store(word)
	return judged, false
}

// undrained returns how many backends the connection knows of that are not
// drained. So many of those that are ready are.
func (c *Chooser) undrained(held int) int {
	if c.fleet.held.Load() == 0 {
		return c.resolved
	}
	_, all := c.fleet.away()
	return max(len(c.backends)-held, c.resolved-all)
}

// selection is one choice.
type selection struct {
	chooser *Chooser
	attempt *Attempt // nil: not the suite's
	cfg     *Config
	now     time.Duration

	judged bool          // the ejected are believed out …
	ejects bool          // … and left alone
	drains bool          // the drained are left alone
	tried  bool          // the call has been somewhere
	silent bool          // the silent are few enough to be avoided
	heard  time.Duration // when another last answered
}

func (s *selection) run() (int, breaker.Token) {
	c := s.chooser
	if c.fleet.out.Load() > 0 {
		s.judged, s.drains = c.believe(s.cfg, s.now)
		s.ejects = s.judged && s.cfg.steers()
	}
	s.tried = s.attempt != nil && !s.cfg.SameBackend && !s.attempt.Fresh()
	if s.ejects && s.attempt != nil && s.attempt.first && !s.tried {
		if i, t, ok := s.probe(); ok {
			return i, t
		}
	}
	i := s.among()
	return i, s.admit(c.backends[i])
}

// admit returns the token of an attempt for the backend that it goes to, which may
// be one that is out: nobody is believed to be, or left alone, or there is no other.
func (s *selection) admit(b *Backend) breaker.Token {
	t, in := b.guard.AdmitClosed()
	if in || s.attempt == nil || s.cfg.EjectOff {
		return t
	}
	t, probe := b.probe(s.now, true)
	if !probe && s.judged && !s.ejects && !b.drained(s.now) {
		b.avoidable.Add(1)
	}
	return t
}

// among returns the backend that the attempt goes to if it is no probe.
func (s *selection) among() int {
	c := s.chooser
	var turn int
	if s.tried {
		// Were it to take a turn, first attempts and retries would take turns, too:
		// of two backends one would get all the first attempts.
		turn = c.fleet.registry.draw(len(c.backends))
	} else {
		turn = c.turn()
	}
	switch {
	case s.cfg.P2C:
		return s.cheaper(turn)
	case s.special(turn):
		s.listen()
		return backend.Choose(len(c.backends), turn, c.fleet.registry.draw(len(c.backends)), s.class)
	}
	return turn
}

// special reports whether a backend may not be the one to choose.
func (s *selection) special(i int) bool {
	b := s.chooser.backends[i]
	return s.tried || s.out(b) || s.quiet(b)
}

// out reports whether a backend is left alone.
func (s *selection) out(b *Backend) bool {
	if !s.ejects && !s.drains || b.closed() {
		return false
	}
	if b.drained(s.now) {
		return s.drains
	}
	return s.ejects
}

// probe asks the ejected whether one is to be tried.
func (s *selection) probe() (i int, t breaker.Token, ok bool) {
	c := s.chooser
	if s.attempt.steady {
		c.fleet.steady.Store(int64(s.now))
	}
	n := len(c.backends)
	start := c.fleet.registry.draw(n)
	for k := range n {
		i := (start + k) % n
		if b := c.backends[i]; !b.closed() && !b.drained(s.now) {
			if t, ok := b.probe(s.now, s.attempt.steady); ok {
				return i, t, true
			}
		}
	}
	return 0, t, false
}

// cheaper draws two backends and returns the cheaper. One that has not been asked
// for a while is asked, whatever it costs: else nobody would ever know that it
// is fast again.
func (s *selection) cheaper(turn int) int {
	c := s.chooser
	n := len(c.backends)
	turns := c.fleet.turns.Add(1)
	if n == 1 {
		return 0
	}
	if b := c.backends[turn]; b.leftOut(s.now, turns) && !s.special(turn) {
		other := c.backends[(turn+1)%n]
		b.look(turns, b.Meter.Past().Slow(s.now, other.Meter.Past()))
		return turn
	}
	r := c.fleet.registry
	i := r.draw(n)
	j := r.draw(n - 1)
	if j >= i {
		j++
	}
	if s.special(i) || s.special(j) {
		s.listen()
		if i, j = backend.ChooseTwo(n, r.draw, s.class); i == j {
			return i
		}
	}
	a, b := &c.backends[i].Meter, &c.backends[j].Meter
	p, q := a.Expected(s.now), b.Expected(s.now)
	switch p0, q0 := p.Share(s.now), q.Share(s.now); {
	case p0 < q0:
		if r.chance()*q0 >= p0 || backend.Cheaper(s.now, q, b.InFlight(), p, a.InFlight()) {
			i = j
		}
	case q0 == p0 || r.chance()*p0 < q0:
		if backend.Cheaper(s.now, q, b.InFlight(), p, a.InFlight()) {
			i = j
		}
	}
	c.backends[i].chosen(turns)
	return i
}

const (
	// lookAfter is how many choices a backend must have been left out of to be asked
	// whatever it costs. Of callers who mind one call in a hundred, half must be left
	// for what chance does: so it doubles, and patience with it, lookDoubles times while
	// the backend is slow, and asked for no other reason …
	lookAfter   = 100
	lookDoubles = 1
	// … and lookAtLast is the time after which it is asked in any case.
	lookAtLast = 10 * time.Second
)

// leftOut reports whether a backend has been left out for so long that it is to be
// asked whatever it costs.
func (b *Backend) leftOut(now time.Duration, turns uint64) bool {
	since := now - time.Duration(b.picked.Load())
	if since < patience {
		return false
	}
	doubled := min(b.looks.Load(), lookDoubles)
	return since >= patience<<doubled && turns-b.pickedTurn.Load() >= lookAfter<<doubled || since >= lookAtLast
}

// look notes that a backend is asked because it has been left out. Only one that is
// slow is asked less and less often: others need the calls to show that they are well.
func (b *Backend) look(turns uint64, slow bool) {
	b.pickedTurn.Store(turns)
	if slow {
		b.looks.Add(1)
	} else {
		b.looks.Store(0)
	}
}

// chosen notes by which choice a backend was the cheaper.
func (b *Backend) chosen(turns uint64) {
	b.pickedTurn.Store(turns)
	if b.looks.Load() != 0 {
		b.looks.Store(0)
	}
}

// quiet reports whether a backend may be silent. Now and then it is asked all
// the same.
func (s *selection) quiet(b *Backend) bool {
	return s.cfg.steers() && b.Meter.Quiet(s.now) && s.now-time.Duration(b.picked.Load()) < patience
}

// listen decides whether silence is to be heeded: if others have been heard
// meanwhile, and if they are enough.
func (s *selection) listen() {
	c := s.chooser
	away, held := 0, 0
	for _, b := range c.backends {
		switch {
		case s.drains && b.drained(s.now):
			held++
		case s.out(b), s.quiet(b):
			away++
		default:
			s.heard = max(s.heard, b.Meter.LastHeard())
		}
	}
	s.silent = away < len(c.backends)-held && away <= backend.Most(c.undrained(held), s.cfg.MaxShare)
}

// class is how willingly a backend is chosen.
func (s *selection) class(i int) backend.Class {
	b := s.chooser.backends[i]
	switch {
	case s.out(b):
		return backend.Out
	case s.silent && s.quiet(b) && s.heard > b.Meter.QuietSince():
		return backend.Silent
	case s.tried && s.attempt.call.Tried(b):
		return backend.Again
	}
	return backend.Fresh
}
