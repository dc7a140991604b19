package failure

import (
	"strconv"
	"time"
)

// Pushback is what a server's grpc-retry-pushback-ms trailer says. The zero
// value is none.
type Pushback struct {
	Given bool          // try again, after Delay
	Stop  bool          // do not try again
	Delay time.Duration // ≥ 0
}

// ParsePushback reads the trailer's values. Anything but one number of
// milliseconds from 0 to 2³¹−1 means stop: gRFC A6 has it so, and a number
// past 32 bits taken at its word overflows or sleeps for weeks.
func ParsePushback(values []string) Pushback {
	if len(values) == 0 {
		return Pushback{}
	}
	ms, err := strconv.ParseInt(values[0], 10, 32)
	if len(values) > 1 || err != nil || ms < 0 {
		return Pushback{Stop: true}
	}
	return Pushback{Given: true, Delay: time.Duration(ms) * time.Millisecond}
}
