package flakyserver

import (
	"context"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

// Attempt is what the server saw of one attempt.
type Attempt struct {
	Method   string
	Time     time.Time // of arrival
	Deadline time.Time // zero: none
	Metadata metadata.MD

	// Previous is grpc-previous-rpc-attempts: 0 without it, -1 if it is not one
	// number.
	Previous int

	Received, Sent int // messages, so far

	// Of an attempt that has Ended: as in [Stats.Codes], UNAVAILABLE if Reset.
	Ended bool
	End   time.Time
	Code  codes.Code
	Reset bool
}

// Attempts are the last attempts, oldest first, of the method given, full
// name, or with [Any] of all; at most as many as [WithLog] keeps in all.
func (s *Server) Attempts(method string) []Attempt { return s.log.snapshot(method) }

// attemptLog is a ring of the last attempts.
type attemptLog struct {
	limit int
	mu    sync.Mutex
	ring  []*Attempt
	next  int // the oldest, once the ring is full
}

// add logs an attempt that has arrived; nil if nothing is logged.
func (l *attemptLog) add(ctx context.Context, method string) *Attempt {
	if l.limit <= 0 {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	a := &Attempt{Method: method, Time: time.Now(), Metadata: md, Previous: previous(md)}
	a.Deadline, _ = ctx.Deadline()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < l.limit {
		l.ring = append(l.ring, a)
		return a
	}
	l.ring[l.next] = a
	l.next = (l.next + 1) % l.limit
	return a
}

func previous(md metadata.MD) int {
	switch v := md.Get("grpc-previous-rpc-attempts"); len(v) {
	case 0:
		return 0
	case 1:
		if n, err := strconv.Atoi(v[0]); err == nil {
			return n
		}
	}
	return -1
}

func (l *attemptLog) update(a *Attempt, f func(*Attempt)) {
	if a == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f(a)
}

func (l *attemptLog) snapshot(method string) []Attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Attempt
	for i := range l.ring {
		a := *l.ring[(l.next+i)%len(l.ring)]
		if method != Any && a.Method != method {
			continue
		}
		a.Metadata = a.Metadata.Copy()
		out = append(out, a)
	}
	return out
}
