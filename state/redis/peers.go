package astraredis

import (
	"maps"
	"slices"
	"time"
)

// peerReports is what other instances have reported and what still holds, for one
// goroutine. Time is any that only grows.
type peerReports struct {
	breakers map[key]map[string]peerReport // by instance
	size     int
}

type peerReport struct {
	report
	until time.Time
}

// add takes a report in. fresh is false if it is known, or if there are too
// many.
func (h *peerReports) add(now time.Time, r report, left time.Duration) (fresh bool) {
	k := r.key()
	if old, ok := h.breakers[k][r.Instance]; ok && old.OpeningID == r.OpeningID {
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
		h.breakers = map[key]map[string]peerReport{}
	}
	if h.breakers[k] == nil {
		h.breakers[k] = map[string]peerReport{}
	}
	if !replaces {
		h.size++
	}
	h.breakers[k][r.Instance] = peerReport{r, now.Add(left)}
	return true
}

// purge forgets what has expired.
func (h *peerReports) purge(now time.Time) {
	h.size = 0
	for k, instances := range h.breakers {
		maps.DeleteFunc(instances, func(_ string, r peerReport) bool { return !now.Before(r.until) })
		if len(instances) == 0 {
			delete(h.breakers, k)
		}
		h.size += len(instances)
	}
}

// agreed returns the report with which n instances agree, and how long all of
// them hold, if there are so many.
func (h *peerReports) agreed(now time.Time, k key, n int) (r report, left time.Duration, ok bool) {
	var holding []peerReport
	for _, r := range h.breakers[k] {
		if now.Before(r.until) {
			holding = append(holding, r)
		}
	}
	if len(holding) < n {
		return report{}, 0, false
	}
	slices.SortFunc(holding, func(a, b peerReport) int { return b.until.Compare(a.until) })
	last := holding[n-1]
	return last.report, last.until.Sub(now), true
}
