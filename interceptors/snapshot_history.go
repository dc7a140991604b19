package interceptors

import (
	"slices"
	"sync"
	"time"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// history is what has happened to a suite. Calls never ask for its lock.
type history struct {
	mu       sync.Mutex
	revision RevisionSnapshot
	reloads  []ReloadSnapshot // the latest last
	steered  []SteeringSnapshot
	stores   map[int]StoreSnapshot
}

// maxHistory is how many events of a kind are kept.
const maxHistory = 20

func keepLast[T any](all []T, one T) []T {
	if len(all) >= maxHistory {
		all = slices.Delete(all, 0, len(all)-maxHistory+1)
	}
	return append(all, one)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return text.Message(err.Error())
}

// revised keeps a revision, and what was tried.
func (h *history) revised(r RevisionSnapshot, tried ReloadSnapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.revision = r
	h.reloads = keepLast(h.reloads, tried)
}

// stored keeps what a store has reported.
func (h *history) stored(store int, e observe.SuiteEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stores == nil {
		h.stores = make(map[int]StoreSnapshot)
	}
	now := time.Now()
	s := StoreSnapshot{Event: e.Kind.String(), Result: e.Result.String(), Time: now, Error: errorText(e.Err)}
	if e.Err != nil {
		s.FailingSince = now
		if before := h.stores[store].FailingSince; !before.IsZero() {
			s.FailingSince = before
		}
	}
	h.stores[store] = s
}

func (h *history) steering(s SteeringSnapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steered = keepLast(h.steered, s)
}

// fill adds what has happened.
func (h *history) fill(to *Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to.Revision = h.revision
	to.Reloads = reversed(h.reloads)
	to.Steered = reversed(h.steered)
	for i := range to.Stores {
		name := to.Stores[i].Store
		to.Stores[i] = h.stores[i]
		to.Stores[i].Store = name
	}
}

func reversed[T any](all []T) []T {
	all = append([]T{}, all...)
	slices.Reverse(all)
	return all
}
