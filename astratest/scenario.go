package astratest

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Scenario is what [Run] plays: calls at a steady pace, whether they succeed or
// not, and faults meanwhile. Callers may change a scenario that a function such
// as [Outage] returns.
type Scenario struct {
	// Name is shown where a result is.
	Name string
	// Method is called, by its full name: "/pkg.Service/Method". If a .proto
	// linked into the test describes it, it must be unary.
	Method string
	// Backends is how many servers there are. 0: 1.
	Backends int
	// Calls is how many calls are made. 0: 500.
	Calls int
	// Every is the time from one call to the next. 0: 20 ms.
	Every time.Duration
	// Deadline is that of each call. 0: 2 s.
	Deadline time.Duration
	// Faults are what goes wrong. An attempt meets the first fault that applies
	// to it.
	Faults []Fault
	// Seed seeds the draws for the shares of faults: the same seed draws the
	// same sequence.
	Seed uint64
}

// Fault is a fault of some backends for a time.
type Fault struct {
	// Backends are the indices of the backends that have the fault. Empty: all.
	Backends []int
	// From and To bound the time, counted from the first call; From is in it, To
	// is not. To 0: for ever.
	From, To time.Duration
	// Share is the share of the attempts that meet the fault, from 0 to 1. 0:
	// all. It has no effect on Refused.
	Share float64
	// Step is what these attempts meet.
	Step Step
	// Refused refuses connections instead, and closes open ones.
	Refused bool
}

// lead is how long a scenario goes well before an outage, rest after it.
const (
	lead = time.Second
	rest = 15 * time.Second
	pace = 20 * time.Millisecond
)

// Healthy is a server that answers: 500 calls, 20 ms apart.
func Healthy(method string) Scenario { return Scenario{Name: "healthy", Method: method} }

// Outage is a server that answers for a second, fails each attempt with
// UNAVAILABLE for d, and answers for another 15 s.
func Outage(method string, d time.Duration) Scenario {
	return outage("outage of "+d.String(), method, d, Fault{Step: Fail(codes.Unavailable, "outage")})
}

// Unreachable is like Outage, except that connections are cut and refused, as
// by a process that restarts. gRPC's connection backoff decides when the
// channel connects again: see grpc.WithConnectParams.
func Unreachable(method string, d time.Duration) Scenario {
	return outage("unreachable for "+d.String(), method, d, Fault{Refused: true})
}

func outage(name, method string, d time.Duration, f Fault) Scenario {
	f.From, f.To = lead, lead+d
	return Scenario{Name: name, Method: method, Every: pace, Calls: int((lead + d + rest) / pace), Faults: []Fault{f}}
}

// OneBadBackend is n backends, the first of which always fails each attempt
// with UNAVAILABLE at once.
func OneBadBackend(method string, n int) Scenario {
	return Scenario{
		Name: "one bad backend", Method: method, Backends: n,
		Faults: []Fault{{Backends: []int{0}, Step: Fail(codes.Unavailable, "bad backend")}},
	}
}

// LostReplies is a server that runs all requests and then, for a share of them,
// loses the connection before the answer: the caller cannot know that they ran.
func LostReplies(method string, share float64) Scenario {
	return Scenario{Name: "lost replies", Method: method, Faults: []Fault{{Share: share, Step: Reset()}}}
}

// SlowReplies is a server that takes d for a share of the requests.
func SlowReplies(method string, share float64, d time.Duration) Scenario {
	return Scenario{Name: "slow replies", Method: method, Faults: []Fault{{Share: share, Step: OK().After(d)}}}
}

// Hangs is a server that never answers a share of the requests.
func Hangs(method string, share float64) Scenario {
	return Scenario{Name: "hangs", Method: method, Faults: []Fault{{Share: share, Step: Hang()}}}
}

func (s Scenario) withDefaults() Scenario {
	if s.Backends == 0 {
		s.Backends = 1
	}
	if s.Calls == 0 {
		s.Calls = 500
	}
	if s.Every == 0 {
		s.Every = pace
	}
	if s.Deadline == 0 {
		s.Deadline = 2 * time.Second
	}
	return s
}
