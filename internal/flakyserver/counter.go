package flakyserver

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
)

// Stats are counts up to one moment. Attempts − Ended are under way.
type Stats struct {
	Attempts int64 // that have arrived
	Ended    int64
	Served   int64 // answered OK
	Resets   int64 // ended with their connection; not in Codes
	Wasted   int64 // worked on to the end for a client that had gone
	Dropped  int64 // left queue or worker when their client went
	Rejected int64 // met a full queue

	// Codes counts ended attempts by the status the server gave; CANCELLED or
	// DEADLINE_EXCEEDED if the client went while it waited. A client that sees
	// the end of its attempt finds it counted.
	Codes map[codes.Code]int64
}

// Stats are the counts of one method, full name, or with [Any] of all.
func (s *Server) Stats(name string) Stats {
	total := Stats{Codes: make(map[codes.Code]int64)}
	if name != Any {
		s.method(name).addTo(&total)
		return total
	}
	s.methods.Range(func(_, m any) bool {
		m.(*method).addTo(&total)
		return true
	})
	return total
}

// Await returns nil as soon as cond holds, or ctx's error. It asks again when
// an attempt arrives, receives a message or ends.
func (s *Server) Await(ctx context.Context, cond func() bool) error {
	s.changed.waiters.Add(1)
	defer s.changed.waiters.Add(-1)
	for {
		changed := s.changed.next()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// method is what the server knows of one method.
type method struct {
	name string
	kind kind
	plan planBox

	attempts, resets, wasted, dropped, rejected atomic.Int64
	codes                                       [codes.Unauthenticated + 1]atomic.Int64
}

func (s *Server) method(name string) *method {
	if m, ok := s.methods.Load(name); ok {
		return m.(*method)
	}
	m, _ := s.methods.LoadOrStore(name, &method{name: name, kind: kindOf(name)})
	return m.(*method)
}

// ended counts codes that gRPC does not know as UNKNOWN, as its clients do.
func (m *method) ended(c codes.Code, reset bool) {
	switch {
	case reset:
		m.resets.Add(1)
	case int(c) < len(m.codes):
		m.codes[c].Add(1)
	default:
		m.codes[codes.Unknown].Add(1)
	}
}

func (m *method) addTo(s *Stats) {
	// What ends is read before what begins, lest more end than have begun.
	resets := m.resets.Load()
	s.Resets += resets
	s.Ended += resets
	for c := range m.codes {
		if n := m.codes[c].Load(); n > 0 {
			s.Codes[codes.Code(c)] += n
			s.Ended += n
		}
	}
	s.Served = s.Codes[codes.OK]
	s.Wasted += m.wasted.Load()
	s.Dropped += m.dropped.Load()
	s.Rejected += m.rejected.Load()
	s.Attempts += m.attempts.Load()
}

// signal wakes those in Await; without any, raising it is one atomic load.
type signal struct {
	waiters atomic.Int64
	mu      sync.Mutex
	ch      chan struct{}
}

func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	if s.waiters.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
