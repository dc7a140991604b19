package sim

import (
	"time"

	"google.golang.org/grpc/codes"

	simulator "github.com/astra-grpc/astra/internal/sim"
)

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
	queue  []*simulator.Attempt
	wasted int // attempts served for nobody
}

// quick is the time of a refusal.
const quick = time.Millisecond

func (s *server) send(a *simulator.Attempt) {
	if s.cut.contains(s.e.Now()) {
		s.e.After(s.cut.to-s.e.Now(), func() { s.arrive(a) })
		return
	}
	s.arrive(a)
}

func (s *server) arrive(a *simulator.Attempt) {
	if s.came != nil {
		s.came()
	}
	if s.down.contains(s.e.Now()) {
		s.e.After(quick, func() { a.Answer(codes.Unavailable) })
		return
	}
	if s.workers > 0 && s.busy >= s.workers {
		s.queue = append(s.queue, a)
		return
	}
	s.busy++
	s.serve(a)
}

func (s *server) serve(a *simulator.Attempt) {
	begin := s.e.Now()
	if s.stall.contains(begin) {
		begin = s.stall.to
	}
	end := begin + s.service
	if begin < s.stall.from && s.stall.from < end { // the stall cuts it in two
		end += s.stall.to - s.stall.from
	}
	s.e.After(end-s.e.Now(), func() {
		if a.Gone {
			s.wasted++
		}
		a.Answer(codes.OK)
		s.next()
	})
}

func (s *server) next() {
	for len(s.queue) > 0 {
		a := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if a.Gone && s.drops {
			continue
		}
		s.serve(a)
		return
	}
	s.busy--
}
