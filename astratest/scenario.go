package astratest

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Scenario is what [Run] plays: calls at a steady pace, whatever becomes of them,
// and what goes wrong meanwhile. The functions that return one, such as [Outage],
// leave it to be changed.
type Scenario struct {
	// Name is shown where a result is.
	Name string
	// Method is called, by its full name: "/pkg.Service/Method". If a .proto linked
	// into the test describes it, it must be unary.
	Method string
	// Backends is how many servers there are. 0: 1.
	Backends int
	// Calls is how many calls are made. 0: 500.
	Calls int
	// Every is the time from one call to the next. 0: 20 ms.
	Every time.Duration
	// Deadline is that of each call. 0: 2 s.
	Deadline time.Duration
	// Faults are what goes wrong. An attempt meets the first that concerns it.
	Faults []Fault
	// Seed is of the shares of faults: the same draws the same sequence.
	Seed uint64
}

// Fault is something that goes wrong with backends for a time.
type Fault struct {
	// Backends are the indices of those concerned. None: all.
	Backends []int
	// From and To bound the time, counted from the first call; From is in it, To
	// is not. To 0: for ever.
	From, To time.Duration
	// Share of the attempts concerned, from 0 to 1. 0: all. Without effect on
	// Refused.
	Share float64
	// Step is what they meet.
	Step Step
	// Refused refuses connections instead, and ends those there are.
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

// Unreachable is like Outage, but that connections are cut and refused, as of a
// process that is being restarted. When the channel tries to connect again is for
// gRPC's connection backoff: see grpc.WithConnectParams.
func Unreachable(method string, d time.Duration) Scenario {
	return outage("unreachable for "+d.String(), method, d, Fault{Refused: true})
}

func outage(name, method string, d time.Duration, f Fault) Scenario {
	f.From, f.To = lead, lead+d
	return Scenario{Name: name, Method: method, Every: pace, Calls: int((lead + d + rest) / pace), Faults: []Fault{f}}
}

// OneBadBackend is n backends, the first of which fails each attempt with
// UNAVAILABLE at once, for ever.
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
