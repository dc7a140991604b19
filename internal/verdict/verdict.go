// Package verdict says what the end of an attempt means: for the breaker, the
// adaptive limit, the budget, and for whether the request may be sent again.
// Nothing else decides any of that. It is given what is known of the attempt
// and keeps no state.
package verdict

import (
	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

// Caller is what has become of the call's context.
type Caller uint8

// What can have become of it.
const (
	Waiting   Caller = iota // it lives
	Cancelled               // the caller gave up
	Expired                 // the call's deadline has passed
)

// Attempt is what is known of an attempt that ended, and of its call.
type Attempt struct {
	Code     codes.Code     // of its end; one that gRPC does not know is the server's own
	Failures astracodes.Set // codes that the policy counts against the server
	Caller   Caller

	// Evidence is false where there is no connection to have left any: the
	// code alone decides then.
	Evidence bool
	Sent     bool // the request got a stream on a connection
	Down     bool // there is no connection yet
	Patient  bool // the caller wants to wait for one: gRPC's wait-for-ready
	Header   bool // a header came
	Message  bool // a message of the answer came
	Trailer  bool // a trailer came: somebody on the other side ended the stream
	Local    bool // grpc-go refused a message, to be sent or received

	Ruling Ruling // of who knows better than the codes; what it says comes first

	Hurried bool // it had less time than the call had spent in our own queue
	Stream  bool
	Old     bool // a stream that was there for as long as the breaker's window
}

// Ruling overrules what the end of an attempt means, part by part. The zero
// Ruling leaves everything as it is.
type Ruling uint8

// The parts. Of two that contradict one another, the first holds.
const (
	Again   Ruling = 1 << iota // another attempt may follow, whatever code and fate are
	Stop                       // none may
	Success                    // the server is up
	Failure                    // it is not
)

// Origin is whose doing an attempt's end was.
type Origin uint8

// Whose doing it can be.
const (
	Server     Origin = iota // it answered, or let the time pass
	Connection               // it was lost, or there was none
	Client                   // this client, its message, metadata or credentials
	CallerGone               // the caller gave up, or left the server no time
)

// Weight is what an end says to a breaker or an adaptive limit.
type Weight uint8

// What it can say.
const (
	Nothing Weight = iota
	Good           // a success; a sample of latency
	Bad            // a failure; a sign of overload
)

// Fate is what became of the request.
type Fate uint8

// What can have become of it.
const (
	Unsent   Fate = iota // it never left: it cannot have run
	Answered             // the server itself ended it, with this code
	Unknown              // nobody knows whether it ran
	Ran                  // its reply had come
)

// Verdict is what the end of an attempt means.
type Verdict struct {
	Origin  Origin
	Breaker Weight
	Limit   Weight
	Earns   bool // budget
	Fate    Fate
	CutOff  bool // there was no connection, and there is none yet
	Lost    bool // with its connection: calls in flight together were lost by one event
	Final   bool // the next attempt would end in the same way
	Again   bool // by ruling
	Stop    bool // by ruling
}

// strain are the codes that an overloaded server, or the way to it, may answer with.
var strain = astracodes.Of(codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted)

// ill are the codes by which a server that has answered a stream says that it
// is not well after all. How a stream ends otherwise says nothing: streams are
// ended by age, by deploys, and by design.
var ill = astracodes.Of(codes.Internal, codes.Unknown, codes.DataLoss)

// grpcs are the codes with which grpc-go itself ends an attempt that got a stream, or
// that it makes of the HTTP status of a proxy. Any other comes from the server: of a
// unary call whose server sends a header and no trailer of its own, nothing else says so.
var grpcs = astracodes.Of(codes.Canceled, codes.Unknown, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unavailable,
	codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented)

// unreached are the codes of attempts that found no connection.
var unreached = astracodes.Of(codes.Unavailable, codes.DeadlineExceeded, codes.Canceled)

// Of returns the verdict on an attempt.
func Of(a Attempt) Verdict {
	v := Verdict{Fate: a.fate()}
	switch {
	case a.Code == codes.OK:
		v.good()
	case a.Caller == Cancelled:
		v.Origin = CallerGone
	case a.clients():
		v.Origin, v.Final = Client, true
	case a.answer():
		v.good()
	default:
		a.failure(&v)
	}
	v.Final = v.Final || v.Fate == Ran
	if a.Caller != Cancelled {
		v.rule(a.Ruling)
	}
	return v
}

// rule makes the verdict what somebody who knows better says.
func (v *Verdict) rule(r Ruling) {
	switch {
	case r&Again != 0:
		v.Again, v.Final = true, false
	case r&Stop != 0:
		v.Stop, v.Final = true, true
	}
	switch {
	case r&Success != 0:
		v.Breaker, v.Earns, v.Lost = Good, true, false
	case r&Failure != 0:
		v.Breaker, v.Earns = Bad, false
	}
}

func (v *Verdict) good() { v.Breaker, v.Limit, v.Earns = Good, Good, true }

// failure is for an end that may speak against the server.
func (a *Attempt) failure(v *Verdict) {
	switch {
	case a.Evidence && !a.Sent:
		if a.unsent(v) {
			return
		}
	case a.lost():
		v.Origin, v.Lost = Connection, true
	}
	if a.Stream && (a.Header || a.Message) {
		a.brokenOff(v)
		return
	}
	switch {
	case a.Old:
		return
	case a.Caller == Expired && a.Hurried:
		v.Origin = CallerGone
	case a.Failures.Contains(a.Code):
		v.Breaker = Bad
	}
	if strain.Contains(a.Code) { // the limit knows by the latency who was hurried
		v.Limit = Bad
	}
}

// unsent is for an attempt that got no stream, and reports whether that says all.
func (a *Attempt) unsent(v *Verdict) bool {
	v.Origin = Connection
	switch {
	case a.Patient: // what the caller has asked for may come with the next call
		return true
	case !a.Down && a.Code == codes.DeadlineExceeded:
		// The server never saw it: other calls had all streams of the connection, or
		// credentials took their time.
		v.Origin, v.Limit = Client, Bad
		return true
	}
	v.CutOff = a.Down
	return false
}

// brokenOff is for the end of a stream that had been answered.
func (a *Attempt) brokenOff(v *Verdict) {
	if a.Caller == Waiting && ill.Contains(a.Code) && a.Failures.Contains(a.Code) {
		v.Breaker = Bad
	}
}

// clients reports whether the attempt failed by this client's own doing.
func (a *Attempt) clients() bool {
	if a.Local {
		return true
	}
	return a.Evidence && !a.Sent && !unreached.Contains(a.Code)
}

// answer reports whether the server itself has answered with a code that does
// not speak against it. CANCELLED and RESOURCE_EXHAUSTED say that it did not do
// its work, though not that it is ill.
func (a *Attempt) answer() bool {
	switch {
	case a.Failures.Contains(a.Code), a.Caller != Waiting && unreached.Contains(a.Code):
		return false
	case a.Code == codes.Canceled, a.Code == codes.ResourceExhausted:
		return false
	}
	return !a.Evidence || a.Trailer || a.Header || a.Message || a.Sent && !a.Stream && !grpcs.Contains(a.Code)
}

// lost reports whether the connection ended beneath the attempt.
func (a *Attempt) lost() bool {
	return a.Code == codes.Unavailable && a.Evidence && a.Sent && !a.Trailer
}

func (a *Attempt) fate() Fate {
	switch {
	case a.Message && !a.Stream, a.Local && a.Header:
		return Ran
	case !a.Evidence && a.Code == codes.DeadlineExceeded:
		return Unknown
	case !a.Sent:
		return Unsent
	case a.Header && !a.Stream: // its reply may have come, and be an empty one
		return Unknown
	case a.Trailer && a.Code != codes.DeadlineExceeded:
		return Answered
	}
	return Unknown
}

// Repeat is which requests may be sent again.
type Repeat uint8

// The choices, from the narrowest on.
const (
	RepeatUnsent   Repeat = iota // those that cannot have run
	RepeatAnswered               // and those that the server itself turned down
	RepeatAny                    // and those whose fate nobody knows
)

// May reports whether the request may be sent again.
func (v Verdict) May(r Repeat) bool {
	switch v.Fate {
	case Unsent:
		return true
	case Answered:
		return r >= RepeatAnswered
	case Unknown:
		return r >= RepeatAny
	}
	return false
}
