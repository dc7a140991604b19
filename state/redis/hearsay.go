package astraredis

import (
	"maps"
	"slices"
	"time"
)

// hearsay is what other instances have reported and what still holds, for one
// goroutine. Time is any that only grows.
type hearsay struct {
	breakers map[key]map[string]heard // by instance
	size     int
}

type heard struct {
	report
	until time.Time
}

// add takes a report in. fresh is false if it is known, or if there are too
// many.
func (h *hearsay) add(now time.Time, r report, left time.Duration) (fresh bool) {
	k := r.key()
	if old, ok := h.breakers[k][r.Instance]; ok && old.Episode == r.Episode {
		return false
	}
	if h.size >= maxReports {
		h.purge(now)
	}
	_, replaces := h.breakers[k][r.Instance]
	if h.size >= maxReports && !replaces {
		return false
	}
	if h.breakers == nil {
		h.breakers = map[key]map[string]heard{}
	}
	if h.breakers[k] == nil {
		h.breakers[k] = map[string]heard{}
	}
	if !replaces {
		h.size++
	}
	h.breakers[k][r.Instance] = heard{r, now.Add(left)}
	return true
}

// purge forgets what has expired.
func (h *hearsay) purge(now time.Time) {
	h.size = 0
	for k, instances := range h.breakers {
		maps.DeleteFunc(instances, func(_ string, r heard) bool { return !now.Before(r.until) })
		if len(instances) == 0 {
			delete(h.breakers, k)
		}
		h.size += len(instances)
	}
}

// agreed returns the report with which n instances agree, and how long all of
// them hold, if there are so many.
func (h *hearsay) agreed(now time.Time, k key, n int) (r report, left time.Duration, ok bool) {
	var holding []heard
	for _, r := range h.breakers[k] {
		if now.Before(r.until) {
			holding = append(holding, r)
		}
	}
	if len(holding) < n {
		return report{}, 0, false
	}
	slices.SortFunc(holding, func(a, b heard) int { return b.until.Compare(a.until) })
	last := holding[n-1]
	return last.report, last.until.Sub(now), true
}
