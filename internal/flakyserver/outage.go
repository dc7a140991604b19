package flakyserver

import (
	"slices"
	"time"
)

// Outage is a time, counted from the server's start, in which every attempt
// that arrives meets Step. From is in it, To is not.
type Outage struct {
	From, To time.Duration
	Step     Step
}

// Outages sets the outages, in place of earlier ones. Where they overlap, the
// first given counts.
func (s *Server) Outages(outages ...Outage) {
	outages = slices.Clone(outages)
	s.outages.Store(&outages)
}

// SetDown makes every attempt that arrives meet step, until SetUp. Attempts
// under way are left alone.
func (s *Server) SetDown(step Step) { s.down.Store(&step) }

// SetUp ends SetDown; outages set by time stay.
func (s *Server) SetUp() { s.down.Store(nil) }

func (s *Server) outage() (Step, bool) {
	if step := s.down.Load(); step != nil {
		return *step, true
	}
	if outages := s.outages.Load(); outages != nil {
		at := time.Since(s.start)
		for _, o := range *outages {
			if o.From <= at && at < o.To {
				return o.Step, true
			}
		}
	}
	return Step{}, false
}

// Refuse ends all connections abruptly and refuses new ones, as a process that
// has died, until Accept. In memory, dialing fails; over TCP, the connection is
// reset before its first byte.
func (s *Server) Refuse() {
	s.refusing.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.abort()
	}
}

// Accept ends Refuse.
func (s *Server) Accept() { s.refusing.Store(false) }
