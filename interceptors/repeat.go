package interceptors

import (
	"fmt"
	"reflect"

	"github.com/astra-grpc/astra/internal/verdict"
)

// Repeat is which failed requests may be sent again. A request whose connection
// was lost may have run: whether it may run twice is for the application to say.
// It holds for unary calls, and for what a stream sends again. Hedges, and
// streams that a [Resume] continues, are not concerned.
type Repeat uint8

// The choices.
const (
	// RepeatAuto is RepeatAny if the policy sets any other field of Retry, or if
	// the method's descriptor declares it NO_SIDE_EFFECTS or IDEMPOTENT; else
	// RepeatAnswered. In a policy file the presence of retryPolicy or
	// astra.retry counts as setting a field, as does the retry policy of a
	// connection's service config (see [Suite.DialOptions]).
	RepeatAuto Repeat = iota
	// RepeatUnsent repeats only requests that never got a stream on a connection:
	// they cannot have run.
	RepeatUnsent
	// RepeatAnswered repeats those, and requests that the server itself ended
	// with a retried code, DEADLINE_EXCEEDED excepted.
	RepeatAnswered
	// RepeatAny repeats every request that ended with a retried code, also those
	// of which nobody knows whether they ran.
	RepeatAny
)

var repeatNames = [...]string{"auto", "unsent", "answered", "any"}

// String returns the name that a policy file has: "auto", "unsent", "answered"
// or "any".
func (r Repeat) String() string {
	if int(r) < len(repeatNames) {
		return repeatNames[r]
	}
	return fmt.Sprintf("Repeat(%d)", uint8(r))
}

// MarshalText returns [Repeat.String]; an error for a value that is none of the
// constants.
func (r Repeat) MarshalText() ([]byte, error) {
	if int(r) >= len(repeatNames) {
		return nil, fmt.Errorf("invalid repeat %d: want 0 to %d", uint8(r), len(repeatNames)-1)
	}
	return []byte(r.String()), nil
}

// UnmarshalText accepts what [Repeat.String] returns.
func (r *Repeat) UnmarshalText(text []byte) error {
	for i, name := range repeatNames {
		if string(text) == name {
			*r = Repeat(i)
			return nil
		}
	}
	return fmt.Errorf("invalid repeat %q: want auto, unsent, answered or any", text)
}

// asked reports whether a policy asks for retries, and so for the contract.
func (r Retry) asked() bool {
	return r.Repeat == RepeatAuto && !reflect.ValueOf(r).IsZero()
}

// verdict returns the engine's choice. Auto has been resolved, except for policies
// that say nothing of retries.
func (r Repeat) verdict() verdict.Repeat {
	switch r {
	case RepeatUnsent:
		return verdict.RepeatUnsent
	case RepeatAny:
		return verdict.RepeatAny
	}
	return verdict.RepeatAnswered
}
