package chaos

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/astra-grpc/astra/internal/field"
)

// Kind is what a fault does.
type Kind uint8

// The kinds of faults. What is said of replies holds for a stream's messages.
const (
	Latency Kind = iota + 1 // the attempt waits before it goes
	Status                  // the attempt ends with a status, as if the server had answered so; it is not sent
	Unsent                  // the attempt ends with UNAVAILABLE, as if there were no connection; it is not sent
	Reset                   // the attempt is sent, and ends with UNAVAILABLE, as if the connection had been lost before the reply
	Hang                    // the attempt gets no reply; it ends with its context
	Corrupt                 // a bit of the reply is another; what cannot be decoded then is INTERNAL
)

var kindNames = [...]string{Latency: "latency", Status: "status", Unsent: "unsent", Reset: "reset", Hang: "hang", Corrupt: "corrupt"}

// String returns the kind as a policy file and a metric label have it: "latency".
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// MarshalText returns [Kind.String]; an error for a value that is no kind.
func (k Kind) MarshalText() ([]byte, error) {
	if k == 0 || int(k) >= len(kindNames) {
		return nil, fmt.Errorf("chaos: %v is not a kind of fault", k)
	}
	return []byte(k.String()), nil
}

// UnmarshalText accepts what [Kind.String] returns.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if i > 0 && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("chaos: %q is not a kind of fault: want one of %s", text, strings.Join(kindNames[1:], ", "))
}

// Plan is what is injected, and for how long.
type Plan struct {
	// Start is when the window begins. Zero: when the plan is given to an
	// Injector.
	Start time.Time
	// For is how long the window is. Range 1 ms to 24 h.
	For time.Duration
	// Seed seeds the draw of attempts: attempts made one at a time meet the
	// same faults under the same seed.
	Seed uint64
	// Faults are tried in order, for each attempt of their methods: every
	// Latency that is drawn delays it, the first other fault that is drawn
	// decides its end. At most 100.
	Faults []Fault
}

// Fault is something that goes wrong with a share of the attempts.
type Fault struct {
	// Method names the methods: "/pkg.Service/Method", "/pkg.Service/*" or "*",
	// all.
	Method string
	// Kind is what the fault does.
	Kind Kind
	// Share is the share of the attempts that meet the fault. Range (0, 1].
	Share float64
	// From is when the fault begins, counted from the plan's window's. 0: with
	// it.
	From time.Duration
	// For is how long the fault lasts. 0: to the end of the window.
	For time.Duration

	// Latency is how long an attempt waits. Required for the kind Latency,
	// invalid for others. At most 1 h.
	Latency time.Duration
	// Spread is the most that is added to Latency at random. At most 1 h.
	Spread time.Duration

	// Code is the code of the error, other than OK. Required for the kind
	// Status, invalid for others.
	Code codes.Code
	// Message is the message of the error. For Status only. "": "chaos: " and
	// the kind.
	Message string
	// RetryInfo is the delay of a google.rpc.RetryInfo in the error's details.
	// For Status only. 0: none.
	RetryInfo time.Duration
	// Pushback is sent as the trailer grpc-retry-pushback-ms (gRFC A6), in
	// whole milliseconds; negative: do not retry. For Status only. 0: none.
	Pushback time.Duration
	// Details are added to the error's details. For Status only.
	Details []proto.Message

	// After is how many messages of a stream pass before the fault. For Reset,
	// Hang and Corrupt only. It has no effect on unary calls.
	After int
}

// The bounds of plans.
const (
	longestWindow = 24 * time.Hour
	longestDelay  = time.Hour
	mostFaults    = 100
	longestName   = 512
)

// Validate returns every fault of the plan, joined, each with field, value and
// allowed range; nil if there is none.
func (p Plan) Validate() error {
	var errs []error
	add := func(e *field.Error) { errs = append(errs, e) }
	if p.For < time.Millisecond || p.For > longestWindow {
		add(field.OutOfRange("For", p.For, "", "from 1ms to %v", longestWindow))
	}
	if n := len(p.Faults); n == 0 || n > mostFaults {
		add(field.OutOfRange("Faults", n, "", "from 1 to %d of them", mostFaults))
		return errors.Join(errs...)
	}
	for i, f := range p.Faults {
		f.validate(fmt.Sprintf("Faults[%d].", i), add)
	}
	return errors.Join(errs...)
}

func (f Fault) validate(prefix string, add func(*field.Error)) {
	if !validPattern(f.Method) {
		add(field.New(prefix+"Method", fmt.Sprintf("%.80q", f.Method), `is not a pattern: want "/pkg.Service/Method", "/pkg.Service/*" or "*"`))
	}
	if _, err := f.Kind.MarshalText(); err != nil {
		add(field.New(prefix+"Kind", int(f.Kind), "is not a kind of fault: want one of %s", strings.Join(kindNames[1:], ", ")))
		return
	}
	if !(f.Share > 0 && f.Share <= 1) {
		add(field.OutOfRange(prefix+"Share", f.Share, "", "more than 0, up to 1"))
	}
	within := func(name string, d, most time.Duration) {
		if d < 0 || d > most {
			add(field.OutOfRange(prefix+name, d, "none", "more than 0s, up to %v", most))
		}
	}
	within("From", f.From, longestWindow)
	within("For", f.For, longestWindow)
	within("Latency", f.Latency, longestDelay)
	within("Spread", f.Spread, longestDelay)
	within("RetryInfo", f.RetryInfo, longestDelay)
	f.needs(prefix, add)
}

// needs says what the kind asks for, and what it cannot have.
func (f Fault) needs(prefix string, add func(*field.Error)) {
	if f.Kind == Latency && f.Latency == 0 && f.Spread == 0 {
		add(field.New(prefix+"Latency", nil, "is missing: a latency needs a duration"))
	}
	if f.Kind == Status && f.Code == codes.OK {
		add(field.New(prefix+"Code", nil, "is missing: a status needs one other than OK"))
	} else if f.Code > codes.Unauthenticated {
		add(field.New(prefix+"Code", int(f.Code), "is not a failure: want a status code from 1 to %d", codes.Unauthenticated))
	}
	if f.After < 0 || f.After > 1e6 {
		add(field.OutOfRange(prefix+"After", f.After, "", "from 0 to 1000000"))
	}
	only := func(name string, set bool, kinds ...Kind) {
		if !set {
			return
		}
		var names []string
		for _, k := range kinds {
			if k == f.Kind {
				return
			}
			names = append(names, k.String())
		}
		add(field.New(prefix+name, nil, "has no effect on kind %v: set it for %s only", f.Kind, strings.Join(names, ", ")))
	}
	only("Latency", f.Latency != 0, Latency)
	only("Spread", f.Spread != 0, Latency)
	only("Code", f.Code != codes.OK, Status)
	only("Message", f.Message != "", Status)
	only("RetryInfo", f.RetryInfo != 0, Status)
	only("Pushback", f.Pushback != 0, Status)
	only("Details", len(f.Details) > 0, Status)
	only("After", f.After != 0, Reset, Hang, Corrupt)
}

func validPattern(pattern string) bool {
	if pattern == everyMethod {
		return true
	}
	service, method, ok := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	return ok && pattern[0] == '/' && service != "" && method != "" && len(pattern) <= longestName && utf8.ValidString(pattern) &&
		!strings.ContainsAny(service, "* \t\r\n") && !strings.ContainsAny(method, "/ \t\r\n") && (method == "*" || !strings.Contains(method, "*"))
}

const everyMethod = "*"

// matches reports whether a pattern names a method.
func matches(pattern, method string) bool {
	if pattern == method || pattern == everyMethod {
		return true
	}
	service, star := strings.CutSuffix(pattern, "*")
	return star && strings.HasPrefix(method, service)
}
