package engine

import (
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

const (
	// MaxNotes is how many notes a suite keeps of all its calls.
	MaxNotes = 100
	// maxOwnNotes is how many it keeps of an endpoint, so that a busy one that
	// fails does not hide the others.
	maxOwnNotes = 12
	// maxTrail is how many attempts of a call a note has: the first ones, and the
	// last.
	maxTrail = 8
)

// Note is what is kept of a call that failed, was refused or was rescued: no
// payload, metadata or message of it. Refusals for one reason, one after another,
// share a note. It is immutable but for Count and Last.
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
	Trail          []AttemptNote

	Count atomic.Uint64 // of calls like this one
	Last  atomic.Int64  // when the last of them ended, as At
}

// AttemptNote is what is kept of an attempt.
type AttemptNote struct {
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
}

// Notes returns the endpoint's last notes, the latest first.
func (r *Record) Notes() []*Note {
	if j := r.journal.Load(); j != nil {
		return j.Notes()
	}
	return nil
}

func (r *Record) own() *Journal {
	if j := r.journal.Load(); j != nil {
		return j
	}
	r.journal.CompareAndSwap(nil, NewJournal(maxOwnNotes))
	return r.journal.Load()
}

// Journal keeps the last notes. It takes no lock.
type Journal struct {
	n     atomic.Uint64
	notes []atomic.Pointer[Note]
}

// NewJournal returns a journal of at most so many notes.
func NewJournal(most int) *Journal { return &Journal{notes: make([]atomic.Pointer[Note], most)} }

func (j *Journal) add(n *Note) {
	j.notes[(j.n.Add(1)-1)%uint64(len(j.notes))].Store(n)
}

// newest returns the latest note; nil: there is none.
func (j *Journal) newest() *Note {
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

// noteAttempt keeps what a failed attempt came to.
func (c *Call) noteAttempt(a *Attempt, code codes.Code) {
	n := AttemptNote{Number: a.Number, Kind: a.Kind, Code: code, At: c.Host.Now()}
	if len(c.trail) < maxTrail {
		c.trail = append(c.trail, n)
	} else {
		c.trail[maxTrail-1] = n
	}
}

// note keeps what the call came to, unless its first attempt succeeded.
func (c *Call) note(r Report) {
	if r.Outcome == observe.SuccessFirst || c.Plan.Record == nil {
		return
	}
	now, own := c.Host.Now(), c.Plan.Record.own()
	if r.Attempts == 0 { // in an outage there are thousands of these
		if n := own.newest(); n != nil && n.Attempts == 0 && n.Outcome == r.Outcome && n.Reason == r.Reason && n.Code == r.Code {
			n.Count.Add(1)
			n.Last.Store(int64(now))
			return
		}
	}
	n := &Note{
		Target: c.Plan.Target, Method: c.Plan.Method, At: now,
		Outcome: r.Outcome, Code: r.Code, Reason: r.Reason, Exhausted: r.Exhausted,
		Attempts: r.Attempts, Hedges: r.Hedges, Waited: r.Waited, Trail: c.trail,
	}
	if r.Code == codes.OK && len(n.Trail) > 0 && len(n.Trail) < maxTrail {
		n.Trail = append(n.Trail, AttemptNote{Number: r.Attempts, Kind: c.kind, At: now})
	}
	n.Count.Store(1)
	n.Last.Store(int64(now))
	c.trail = nil // it is the note's
	own.add(n)
	if c.Host.Journal != nil {
		c.Host.Journal.add(n)
	}
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

// Report returns how the call has gone. err is its error, even if a fallback
// rescued it from that.
func (c *Call) Report(err error, rescued bool) Report {
	r := Report{Outcome: observe.SuccessFirst, Exhausted: c.exhausted, Attempts: c.loop.Attempts, Hedges: c.hedges, Waited: c.waited}
	if err != nil {
		r.Code = CodeOf(err)
		r.Reason = RetryReason(c.why)
	}
	if c.rejected != observe.OutcomeNone && err != nil {
		r.Reason = c.refusal
	}
	switch {
	case rescued:
		r.Outcome = observe.Rescued
	case c.rejected != observe.OutcomeNone:
		r.Outcome = c.rejected
	case err != nil:
		r.Outcome = observe.Failed
	case c.kind == observe.HedgeAttempt:
		r.Outcome = observe.SuccessHedge
	case c.kind != observe.FirstAttempt:
		r.Outcome = observe.SuccessAfterRetry
	}
	return r
}
