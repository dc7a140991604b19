package config

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

// decimal is how numbers are written: as JSON has them, and as YAML 1.2 does.
// Others are faults: 0x10 and 1_000 are hard to see through, and 010 is ten to
// some readers and eight to others.
var decimal = regexp.MustCompile(`^[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)

func parseNumber(s string) (float64, bool) {
	if !decimal.MatchString(s) {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil
}

// protoDuration is how proto-JSON writes durations, with what gRFC A6 and
// grpc-go have besides: ".1s", "01s".
var protoDuration = regexp.MustCompile(`^(-?)([0-9]*)(?:\.([0-9]{0,9}))?s$`)

// maxProtoSeconds is 10,000 years, google.protobuf.Duration's limit.
const maxProtoSeconds = 315_576_000_000

// longest is what a longer duration counts as: a century, which is for ever, and
// leaves room to add to.
const longest = 100 * 365 * 24 * time.Hour

// parseProtoDuration reads "1.5s".
func parseProtoDuration(s string) (time.Duration, bool) {
	m := protoDuration.FindStringSubmatch(s)
	if m == nil || m[2]+m[3] == "" {
		return 0, false
	}
	var seconds int64
	if digits := strings.TrimLeft(m[2], "0"); digits != "" {
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || v > maxProtoSeconds {
			return 0, false
		}
		seconds = v
	}
	nanos, err := strconv.ParseInt((m[3] + "000000000")[:9], 10, 64)
	if err != nil || seconds == maxProtoSeconds && nanos > 0 {
		return 0, false
	}
	d := longest
	if seconds < int64(longest/time.Second) {
		d = time.Duration(seconds)*time.Second + time.Duration(nanos)
	}
	if m[1] == "-" {
		d = -d
	}
	return d, true
}

// parseDuration reads "250ms" and "1h30m", too.
func parseDuration(s string) (time.Duration, bool) {
	if d, ok := parseProtoDuration(s); ok {
		return d, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

// parseCode reads a name in any case, spelled as gRPC does or as Go does, or a
// number (gRFC A6).
func parseCode(n *node) (codes.Code, bool) {
	if n.kind == number {
		v, ok := parseNumber(n.text)
		if ok && v >= 0 && v <= 16 && v == math.Trunc(v) {
			return codes.Code(v), true
		}
		return 0, false
	}
	upper := strings.ToUpper(n.text)
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if upper == astracodes.Name(c) || upper == strings.ToUpper(c.String()) {
			return c, true
		}
	}
	return 0, false
}

// codeNames are those that faults name.
func codeNames(from codes.Code) (names []string) {
	for c := from; c <= codes.Unauthenticated; c++ {
		names = append(names, astracodes.Name(c))
	}
	return names
}
