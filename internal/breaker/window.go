package breaker

import "time"

// buckets is how finely the window slides: it holds between 9/10 and 10/10 of
// its length.
const buckets = 10

// window counts what happened in the last buckets × width.
type window struct {
	width time.Duration
	slots [buckets]slot
}

type slot struct {
	epoch int64 // number of the stretch of time it counts
	tally
}

type tally struct{ calls, failed, slow uint64 }

func newWindow(length time.Duration) window {
	w := window{width: max(1, length/buckets)}
	for i := range w.slots {
		w.slots[i].epoch = -1 << 62 // no time that can be asked for
	}
	return w
}

// epoch rounds down, below zero too: the epoch of time is the caller's.
func epoch(now, width time.Duration) int64 {
	e := int64(now / width)
	if now < 0 && now%width != 0 {
		e--
	}
	return e
}

func slotOf(epoch int64) int { return int(((epoch % buckets) + buckets) % buckets) }

func (w *window) add(now time.Duration, o Outcome) {
	t := &w.at(epoch(now, w.width)).tally
	t.calls++
	if o.failed() {
		t.failed++
	}
	if o.slow() {
		t.slow++
	}
}

// addSuccesses books n successes that were counted elsewhere in that epoch.
func (w *window) addSuccesses(epoch int64, n uint64) {
	if s := w.at(epoch); s.epoch == epoch {
		s.calls += n
	}
}

// at returns the slot of an epoch, emptied if it held an older one. A slot
// that has moved on already is returned as it is.
func (w *window) at(epoch int64) *slot {
	s := &w.slots[slotOf(epoch)]
	if s.epoch < epoch {
		*s = slot{epoch: epoch}
	}
	return s
}

func (w *window) sum(now time.Duration) tally {
	var t tally
	last := epoch(now, w.width)
	for i := range w.slots {
		if s := &w.slots[i]; s.epoch > last-buckets && s.epoch <= last {
			t.calls += s.calls
			t.failed += s.failed
			t.slow += s.slow
		}
	}
	return t
}
