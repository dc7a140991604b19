package interceptors

import "fmt"

// Mode is whether a [Breaker] or a [Limit] refuses calls, and whether [Eject]
// keeps attempts away from backends.
type Mode uint8

// The modes.
const (
	// ModeEnforce does.
	ModeEnforce Mode = iota
	// ModeObserve refuses no call, makes none wait, and keeps no attempt away:
	// everything is judged and shown as usual, and what would have been refused
	// or sent elsewhere passes and is counted
	// (astra_breaker_would_refuse_total, astra_limit_would_refuse_total,
	// astra_backend_would_avoid_total). Calls that pass in this way are not
	// judged, as they would not have been made. It shows, in production, what
	// enforcing would do.
	ModeObserve
)

var modeNames = [...]string{"enforce", "observe"}

// String returns the name that a policy file has: "enforce" or "observe".
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// MarshalText returns [Mode.String]; an error for a value that is none of the
// constants.
func (m Mode) MarshalText() ([]byte, error) {
	if int(m) >= len(modeNames) {
		return nil, fmt.Errorf("invalid mode %d: want 0 or 1", uint8(m))
	}
	return []byte(m.String()), nil
}

// UnmarshalText accepts what [Mode.String] returns.
func (m *Mode) UnmarshalText(text []byte) error {
	for i, name := range modeNames {
		if string(text) == name {
			*m = Mode(i)
			return nil
		}
	}
	return fmt.Errorf("invalid mode %q: want enforce or observe", text)
}

func (m Mode) validate(f *faults) {
	if m > ModeObserve {
		f.add("Mode", uint8(m), "", "ModeEnforce or ModeObserve")
	}
}
