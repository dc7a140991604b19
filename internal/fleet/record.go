package fleet

import (
	"sync"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// Record is a backend that is ejected or drained, as it outlives its process.
type Record struct {
	Target   string // canonical
	Backend  string // all of its addresses
	Left     time.Duration
	Openings int
	Age      time.Duration // how long ago it was so; 0: it is
	Drained  bool          // by hand, for what is left
}

// pending are records that no resolver has named the backend of yet.
type pending struct {
	mu      sync.Mutex // guards what follows
	records map[[2]string]pendingRecord
}

type pendingRecord struct {
	Record
	at time.Duration // when it was restored
}

// over reports whether nothing is left of the record.
func (r *Record) over() bool { return r.Drained && r.Left <= 0 }

// maxPending bounds the pending records.
const maxPending = 16384

// Records returns the backends that are out, and those pending that are not older
// than the age given.
func (r *Registry) Records(oldest time.Duration) (all []Record) {
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for target, f := range r.fleets {
		for _, b := range *f.all.Load() {
			if s, out := b.guard.Snapshot(now); out {
				all = append(all, Record{Target: target, Backend: b.key, Left: s.Left, Openings: s.Openings, Drained: s.Forced == breaker.ForcedOpen})
			}
		}
	}
	r.pending.mu.Lock()
	defer r.pending.mu.Unlock()
	for _, a := range r.pending.records {
		since := now - a.at
		a.Age += since
		a.Left = max(0, a.Left-since)
		if a.Age <= oldest && !a.over() {
			all = append(all, a.Record)
		}
	}
	return all
}

// AddPending keeps what is said of backends until a resolver names them. What is in use
// knows better.
func (r *Registry) AddPending(records []Record) {
	r.pending.mu.Lock()
	defer r.pending.mu.Unlock()
	if r.pending.records == nil {
		r.pending.records = make(map[[2]string]pendingRecord)
	}
	for _, rec := range records {
		if len(r.pending.records) >= maxPending {
			return
		}
		r.pending.records[[2]string{rec.Target, rec.Backend}] = pendingRecord{rec, r.Now()}
	}
}

// applyPendingLocked applies to a new backend the record that is pending for it.
func (b *Backend) applyPendingLocked(now time.Duration) {
	w := &b.fleet.registry.pending
	w.mu.Lock()
	k := [2]string{b.fleet.Target, b.key}
	a, ok := w.records[k]
	delete(w.records, k)
	w.mu.Unlock()
	a.Left -= now - a.at
	if !ok || a.over() {
		return
	}
	s := breaker.Snapshot{Left: a.Left, Openings: a.Openings}
	if a.Drained {
		s.Forced = breaker.ForcedOpen
	}
	b.guard.Restore(now, s, breaker.Restored)
	b.fleet.recountLocked(b, now)
}
