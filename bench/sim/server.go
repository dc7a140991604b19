package sim

import (
	"time"

	"google.golang.org/grpc/codes"
)

// attempt is a request on its way.
type attempt struct {
	answered func(codes.Code) // called once, unless gone
	gone     bool             // nobody waits any more
}

func (a *attempt) answer(c codes.Code) {
	if !a.gone {
		a.gone = true
		a.answered(c)
	}
}

// span is a stretch of time; its end is not in it.
type span struct{ from, to time.Duration }

func (s span) contains(t time.Duration) bool { return s.from <= t && t < s.to }

// server is workers behind one queue, first come first served, and what can
// befall them.
type server struct {
	e       *engine
	workers int           // 0: as many as there are attempts
	service time.Duration // of each attempt
	drops   bool          // what nobody waits for any more, instead of serving it

	down  span // attempts that arrive fail at once
	stall span // no work is begun, and none is done
	cut   span // what is sent arrives at the end of it

	came   func() // an attempt arrived
	busy   int
	queue  []*attempt
	wasted int // attempts served for nobody
}

// quick is the time of a refusal.
const quick = time.Millisecond

func (s *server) send(a *attempt) {
	if s.cut.contains(s.e.now) {
		s.e.after(s.cut.to-s.e.now, func() { s.arrive(a) })
		return
	}
	s.arrive(a)
}

func (s *server) arrive(a *attempt) {
	if s.came != nil {
		s.came()
	}
	if s.down.contains(s.e.now) {
		s.e.after(quick, func() { a.answer(codes.Unavailable) })
		return
	}
	if s.workers > 0 && s.busy >= s.workers {
		s.queue = append(s.queue, a)
		return
	}
	s.busy++
	s.serve(a)
}

func (s *server) serve(a *attempt) {
	begin := s.e.now
	if s.stall.contains(begin) {
		begin = s.stall.to
	}
	end := begin + s.service
	if begin < s.stall.from && s.stall.from < end { // the stall cuts it in two
		end += s.stall.to - s.stall.from
	}
	s.e.after(end-s.e.now, func() {
		if a.gone {
			s.wasted++
		}
		a.answer(codes.OK)
		s.next()
	})
}

func (s *server) next() {
	for len(s.queue) > 0 {
		a := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if a.gone && s.drops {
			continue
		}
		s.serve(a)
		return
	}
	s.busy--
}
