package fleet

import (
	"sync"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// Record is a backend that is out, as it outlives its process.
type Record struct {
	Target   string // canonical
	Backend  string // all of its addresses
	Left     time.Duration
	Openings int
	Age      time.Duration // how long ago it was so; 0: it is
}

// awaited are records that no resolver has named the backend of yet.
type awaited struct {
	mu      sync.Mutex // guards what follows
	records map[[2]string]awaitedRecord
}

type awaitedRecord struct {
	Record
	at time.Duration // when it was told
}

// maxAwaited bounds the records awaited.
const maxAwaited = 16384

// Records returns the backends that are out, and those awaited that are not older
// than the age given.
func (r *Registry) Records(oldest time.Duration) (all []Record) {
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for target, f := range r.fleets {
		for _, b := range *f.all.Load() {
			if s, out := b.guard.Snapshot(now); out {
				all = append(all, Record{Target: target, Backend: b.key, Left: s.Left, Openings: s.Openings})
			}
		}
	}
	r.awaited.mu.Lock()
	defer r.awaited.mu.Unlock()
	for _, a := range r.awaited.records {
		since := now - a.at
		a.Age += since
		a.Left = max(0, a.Left-since)
		if a.Age <= oldest {
			all = append(all, a.Record)
		}
	}
	return all
}

// Await keeps what is said of backends until a resolver names them. What is in use
// knows better.
func (r *Registry) Await(records []Record) {
	r.awaited.mu.Lock()
	defer r.awaited.mu.Unlock()
	if r.awaited.records == nil {
		r.awaited.records = make(map[[2]string]awaitedRecord)
	}
	for _, rec := range records {
		if len(r.awaited.records) >= maxAwaited {
			return
		}
		r.awaited.records[[2]string{rec.Target, rec.Backend}] = awaitedRecord{rec, r.Now()}
	}
}

// recall gives a new backend what is awaited of it.
func (b *Backend) recall(now time.Duration) {
	w := &b.fleet.registry.awaited
	w.mu.Lock()
	k := [2]string{b.fleet.Target, b.key}
	a, ok := w.records[k]
	delete(w.records, k)
	w.mu.Unlock()
	if ok {
		b.fleet.changed(b.guard.Restore(now, breaker.Snapshot{Left: a.Left - (now - a.at), Openings: a.Openings}, breaker.Restored))
	}
}
