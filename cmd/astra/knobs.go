package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// knob is a value that tune may change.
type knob struct {
	key       string
	low, high float64 // of a duration, in seconds
	kind      byte    // 'n' whole number, 'r' real, 'd' duration
}

// knobs are all there are, with the ranges that are searched by default.
var knobs = []knob{
	{"attemptTimeout", 0.05, 2, 'd'},
	{"retry.maxAttempts", 2, 5, 'n'},
	{"retry.backoff.base", 0.01, 1, 'd'},
	{"breaker.consecutive", 3, 20, 'n'},
	{"breaker.openFor", 0.2, 5, 'd'},
	{"breaker.probeShare", 0.001, 0.1, 'r'},
	{"budget.ratio", 0.05, 1, 'r'},
	{"budget.burst", 5, 100, 'n'},
}

func (k knob) text(v float64) string {
	switch k.kind {
	case 'n':
		return strconv.Itoa(int(math.Round(v)))
	case 'd':
		return time.Duration(math.Round(v*1e3) * 1e6).String()
	}
	return strconv.FormatFloat(math.Round(v*1e4)/1e4, 'f', -1, 64)
}

func parseFloat(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

func readRanges(text string) (all []knob, err error) {
	if text == "" {
		return knobs, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, limits, _ := strings.Cut(strings.TrimSpace(part), "=")
		i := slices.IndexFunc(knobs, func(k knob) bool { return k.key == key })
		if i < 0 {
			return nil, usagef("-allow %q: no such knob; see -h", key)
		}
		k := knobs[i]
		low, high, ok := strings.Cut(limits, "..")
		if ok {
			k.low, k.high = k.read(low), k.read(high)
		}
		if limits != "" && (!ok || !(k.low > 0) || !(k.high >= k.low)) {
			return nil, usagef("-allow %s=%s: want LOW..HIGH, above 0", key, limits)
		}
		all = append(all, k)
	}
	return all, nil
}

func (k knob) read(s string) float64 {
	if k.kind != 'd' {
		return parseFloat(s)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return math.NaN()
	}
	return d.Seconds()
}
