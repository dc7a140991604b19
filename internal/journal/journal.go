// Package journal keeps what is shown of calls that did not go well: codes, times
// and attempts of the last of them, and how many were refused. It takes no lock.
package journal

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

const (
	// Max is how many notes a suite keeps of all its calls.
	Max = 100
	// Own is how many it keeps of an endpoint, so that a busy one that fails does
	// not hide the others.
	Own = 12
	// MaxTrail is how many attempts of a call a note has: the first ones, and the
	// last.
	MaxTrail = 8
)

// Note is what is kept of a call that failed, was refused or was rescued: no
// payload, metadata or message of it. Refusals for one reason, one after another,
// share a note. It is immutable except Count and Last.
type Note struct {
	Target, Method string
	At             time.Duration // when the call ended
	Outcome        observe.Outcome
	Code           codes.Code // what the caller saw or, if a fallback answered, would have seen
	Reason         observe.Reason
	Exhausted      bool
	Attempts       int
	Hedges         int
	Waited         time.Duration // in backoffs
	Trail          []Attempt

	Count atomic.Uint64 // of calls like this one
	Last  atomic.Int64  // when the last of them ended, as At
}

// Attempt is what is kept of an attempt.
type Attempt struct {
	Number int
	Kind   observe.AttemptKind
	Code   codes.Code
	At     time.Duration // when it ended
	Delay  time.Duration // planned, of the backoff that followed; 0: none did
}

// Record is what is kept of an endpoint's calls for those who ask later. Calls
// that succeed at once do not touch it.
type Record struct {
	BreakerRefused, BreakerWouldRefuse atomic.Uint64
	LimitRefused, LimitWouldRefuse     atomic.Uint64

	journal atomic.Pointer[Journal]
	stretch
}

// Pause is how long no call must have been notable for a stretch to be over.
const Pause = time.Minute

// stretch is a time in which calls were notable again and again.
type stretch struct {
	count       atomic.Uint64
	since, last atomic.Int64 // when the first and the last of them ended
}

// Noted counts a notable call.
func (s *stretch) Noted(now time.Duration) {
	if s.count.Load() == 0 || now-time.Duration(s.last.Load()) > Pause {
		s.count.Store(0)
		s.since.Store(int64(now))
	}
	s.count.Add(1)
	s.last.Store(int64(now))
}

// Stretch returns how many calls were notable since when, with no [Pause] between
// any two of them, and when the last was; none if that is longer ago.
func (s *stretch) Stretch(now time.Duration) (count uint64, since, last time.Duration) {
	count, since, last = s.count.Load(), time.Duration(s.since.Load()), time.Duration(s.last.Load())
	if count == 0 || now-last > Pause {
		return 0, 0, 0
	}
	return count, since, last
}

// Notes returns the endpoint's last notes, the latest first.
func (r *Record) Notes() []*Note {
	if j := r.journal.Load(); j != nil {
		return j.Notes()
	}
	return nil
}

// Own returns the endpoint's journal, which is made if need be.
func (r *Record) Own() *Journal {
	if j := r.journal.Load(); j != nil {
		return j
	}
	r.journal.CompareAndSwap(nil, New(Own))
	return r.journal.Load()
}

// Journal keeps the last notes. It takes no lock.
type Journal struct {
	n     atomic.Uint64
	notes []atomic.Pointer[Note]
}

// New returns a journal of at most so many notes.
func New(most int) *Journal { return &Journal{notes: make([]atomic.Pointer[Note], most)} }

// Add keeps a note.
func (j *Journal) Add(n *Note) {
	j.notes[(j.n.Add(1)-1)%uint64(len(j.notes))].Store(n)
}

// Newest returns the latest note; nil: there is none.
func (j *Journal) Newest() *Note {
	return j.notes[(j.n.Load()-1)%uint64(len(j.notes))].Load()
}

// Notes returns the notes, the latest first.
func (j *Journal) Notes() (all []*Note) {
	last := j.n.Load()
	for i := range uint64(len(j.notes)) {
		if n := j.notes[(last-1-i)%uint64(len(j.notes))].Load(); n != nil && i < last {
			all = append(all, n)
		}
	}
	return all
}

// Report is how a call went.
type Report struct {
	Outcome   observe.Outcome
	Code      codes.Code     // of its error
	Reason    observe.Reason // there was no other attempt, or the call was refused
	Exhausted bool           // there was none because as many had been made as are allowed
	Attempts  int
	Hedges    int           // of them
	Waited    time.Duration // in backoffs
}
