package interceptors

import (
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/jitter"
)

// Policy says how calls of a method are kept alive. Its zero value is the
// default; so is that of every field. Policies are given to [New] and
// [Suite.Reload], which report every fault of every policy at once, and to
// [WithCallPolicy].
//
// The stages stand in this order, outermost first:
//
//	fallback( limit( breaker( retry( call ))))
//
// so a call whose attempts are used up is one failure to the breaker, and one
// saved by a retry is a success.
type Policy struct {
	Retry   Retry
	Hedge   Hedge
	Breaker Breaker
	Budget  Budget
	Limit   Limit

	// Timeout bounds the whole call, its wait for the limit and its backoffs
	// included; for a stream, its life. 0: only the caller's own deadline does.
	// The earlier of the two counts.
	Timeout time.Duration
	// AttemptTimeout bounds each attempt; for a stream, the time until it is
	// committed. An attempt that exceeds it ends with DEADLINE_EXCEEDED and is
	// retried if Retry.Codes has that. 0: none. It must not be above Timeout.
	AttemptTimeout time.Duration
}

// Retry repeats failed attempts after a backoff.
//
// An attempt is retried if its code is in Codes and the caller's context has
// not ended. A server's pushback (trailer grpc-retry-pushback-ms, gRFC A6) sets
// the next delay exactly or ends the call; its google.rpc.RetryInfo stretches
// the delay by up to 5 s; either makes RESOURCE_EXHAUSTED retryable. A backoff
// that cannot end before the call's deadline is not begun. A backoff after an
// attempt without a connection ends as soon as there is a connection. A call
// that fails returns its last attempt's error, unchanged.
type Retry struct {
	// MaxAttempts counts the first call too. 0: 3; 1: no retry. Range 1 to 100.
	MaxAttempts int
	// Repeat is which failed requests may be sent again. 0: [RepeatAuto], which
	// never repeats a request that may have run unless some field of Retry is set
	// or the method is declared idempotent.
	Repeat Repeat
	// Backoff is the schedule of delays. Zero fields: 500 ms doubling to 8 s,
	// full jitter.
	Backoff jitter.Backoff
	// Codes are the codes that are retried. 0: [astracodes.Retryable]. It must
	// not contain OK.
	Codes astracodes.Set
	// IdempotentCodes are retried too, where the method's descriptor declares
	// it NO_SIDE_EFFECTS or IDEMPOTENT (idempotency_level in the .proto file).
	// 0: none; [astracodes.RetryableIdempotent] is meant for it. It must not
	// contain OK.
	IdempotentCodes astracodes.Set
	// PerCode replaces Backoff after failures with these codes, which Codes or
	// IdempotentCodes must contain (RESOURCE_EXHAUSTED excepted). Overload, for
	// example, may need longer delays than a lost connection.
	PerCode map[codes.Code]jitter.Backoff
	// BufferBytes bounds what a stream keeps of what it sent, to send it again:
	// the encoding of each message, and 5 bytes for the first and 128 bytes for
	// each further one, which keeping them costs. A stream that sends more, or
	// a message that cannot be kept unchanged, is committed. 0: 256 KiB. All
	// streams of a suite together keep at most 64 MiB. It has no effect on
	// unary calls.
	BufferBytes int
}

// Hedge starts further attempts of a call while the first still runs, and takes
// the first good answer (gRFC A6, "hedging policy"): it cuts the latency tail
// that slow servers cause, at the price of a few more attempts. It is for unary
// calls, and for server streams until their first message; streams that the
// client sends on are not hedged. A call is hedged or retried, not both: with
// hedging on, a zero Retry means no retry.
//
// An OK or a fatal code ends the call. A non-fatal failure starts the next
// attempt immediately; it becomes the call's error only if no other attempt
// runs or may still start. RESOURCE_EXHAUSTED is not fatal if the server says
// when to try again. A server's pushback sets the time of the next attempt, or,
// negative, stops new ones and lets the others finish. Hedges take tokens of
// the [Budget] as retries do; if a hedge is refused a token, the attempts
// already running go on alone. To the breaker a hedged call is one call.
//
// Attempts that lost are cancelled. The first runs on the caller's goroutine,
// with the caller's messages, so the call returns only after that attempt has
// ended; interceptors beneath the suite must not delay its cancellation. The
// call does not wait for the other attempts, which have a copy of the request
// and replies of their own. When the call returns, nothing else uses its
// messages. Messages that are neither proto.Message nor pointers that the
// call's codec can copy fail the call with FAILED_PRECONDITION. Inline hooks of
// a hedged call may run on another goroutine than its caller's. Load balancers
// see a lost attempt as CANCELLED, which xDS outlier detection counts against
// its backend.
//
// A method may run twice at the same time, so a policy for many methods hedges
// only those whose descriptor declares them NO_SIDE_EFFECTS or IDEMPOTENT;
// calls of others have a single attempt, which is logged once as a warning.
// [WithMethodPolicy] with a method's full name hedges any, and so does
// [WithCallPolicy].
type Hedge struct {
	// MaxAttempts counts the first attempt too. 0 or 1: off. Range 1 to 10.
	MaxAttempts int
	// Delay is the time from one start to the next. 0: the time within which 95
	// % of the method's recent successful attempts ended, once at least 100
	// ended in the last one to two minutes (about one call a second); until
	// then only failures start another attempt. The measured delay is at least
	// 1 ms, and exact to 1/16.
	Delay time.Duration
	// NonFatal are the codes of failures that do not end the call. 0:
	// [astracodes.Retryable]. For none, which in gRFC A6 is an empty list, use
	// codes.Of(codes.OK): no failure is OK.
	NonFatal astracodes.Set
}

func (h Hedge) on() bool { return h.MaxAttempts > 1 }

// on reports whether anything asks for a second attempt.
func (r Retry) on() bool {
	return r.MaxAttempts > 1 || r.Backoff != (jitter.Backoff{}) || r.Codes != 0 || r.IdempotentCodes != 0 || len(r.PerCode) > 0
}

// Breaker refuses calls to a failing method of a target, with [ErrBreakerOpen],
// so that a dead server gets no load and its callers fail at once.
//
// Each pair of target and method has a breaker of its own. A call counts once:
// as a failure if its code is in Failures, as a success if it is OK or any
// other code that the server itself sent, except CANCELLED and
// RESOURCE_EXHAUSTED. The caller's cancellation, a request that this client
// could not send, and a wait-for-ready call that found no connection in time do
// not count. A breaker that opened because there was no connection probes as
// soon as there is one. One that opened because calls ran out of time refuses
// no call whose deadline leaves it at least twice the longest of their times,
// until such a call has waited in vain.
type Breaker struct {
	// Disabled turns the breaker off: every call passes, and nothing is
	// counted.
	Disabled bool
	// Mode is whether the breaker refuses calls. 0: [ModeEnforce].
	Mode Mode
	// FailureRate opens the breaker at this share of failures among the calls
	// in Window, once these are MinCalls. 0: 0.5. Range (0, 1].
	//
	// To catch a server that has just started failing, even at low traffic,
	// failures are also weighed against recent successes (a cumulative sum,
	// CUSUM): a failure adds one, a success subtracts ⅘ ·
	// FailureRate/(1−FailureRate), by default ⅘, down to zero. The breaker
	// opens at twice Consecutive, or at FailureRate · MinCalls if that is more,
	// by default 14.
	FailureRate float64
	// MinCalls is how many calls the rates need. 0: 20.
	MinCalls int
	// Window is the time that the rates cover, kept in ten slices. 0: 10 s.
	// Range 10 ms to 1 h.
	Window time.Duration
	// Consecutive opens the breaker at this many failures in a row, however
	// long they took: slow traffic trips it too. 0: 7.
	Consecutive int
	// SlowCall is the duration from which on the last attempt of a unary call
	// counts as slow. 0: no call is slow.
	SlowCall time.Duration
	// SlowRate opens the breaker at this share of slow calls among those in
	// Window. 0: 0.5. Range (0, 1]. It requires SlowCall.
	SlowRate float64
	// OpenFor is how long the breaker stays open at first, ±20 % by chance, so
	// that clients do not return together. It doubles each time it ends and the
	// probes fail, up to MaxOpenFor. 0: 1 s.
	OpenFor time.Duration
	// MaxOpenFor is the longest open time. 0: 60 s, or OpenFor if that is more.
	MaxOpenFor time.Duration
	// ProbeShare lets probes start before the open time is over, as a share of
	// the calls refused: by default one for each ten, so that a busy client
	// soon notices a recovery. Each is a single attempt, at least a tenth of
	// OpenFor after the one before; if it fails, the open time does not grow.
	// While probes hang, further ones may start, for the same share. 0: 0.1.
	// Range (0, 1]; under a tiny share all probes wait for the end of the open
	// time.
	ProbeShare float64
	// Probes is how many calls may pass at once when the breaker probes; that
	// many successes close it, one failure opens it again. A probe that has not
	// ended after 10 s (or Timeout, if that is more) gives its slot to another.
	// 0: 1. Range 1 to 1000.
	Probes int
	// Failures are the codes that count against the server. 0:
	// [astracodes.Failure].
	Failures astracodes.Set
}

// Budget bounds the load that attempts beyond the first may add: a token bucket
// that successful calls fill. Methods of one target with equal Budgets share
// one. A retry takes its token when it is decided, before its backoff, and
// gives it back if it is not made. A call that gets no token returns its last
// attempt's own error.
//
//	attempts ≤ calls + Ratio × successes + MinPerSecond × time + Burst
type Budget struct {
	// Disabled turns the budget off: every retry passes.
	Disabled bool
	// Ratio is how many tokens a successful call adds. 0: 0.2. Range (0, 10].
	Ratio float64
	// MinPerSecond is how many tokens a second adds, for clients with little
	// traffic. Each client of a server adds them, also in an outage, so a large
	// fleet needs a small value. 0: 0.1. Range (0, 10⁶].
	MinPerSecond float64
	// Burst is how many tokens the bucket holds at most, and at the start. 0:
	// 50. Range 1 to 10⁶.
	Burst float64
}

// Limit bounds how many calls are in flight, how often they start, and how many
// wait for their turn. Calls that may neither start nor wait are refused with
// [ErrLimited].
//
// Each pair of target and method has a limit of its own. A call holds its slot
// until it has ended, its retries, backoffs and hedges included; a stream holds
// it for its life. Calls that cannot start yet wait in one FIFO queue and leave
// it when their context ends. A call that the breaker would refuse does not
// wait; if the breaker refuses a call after its wait, the call gives back its
// slot and its start. A refusal counts as a failure neither for the breaker nor
// for the server.
type Limit struct {
	// Mode is whether the limit refuses calls and makes them wait. 0:
	// [ModeEnforce].
	Mode Mode
	// MaxConcurrent is how many calls are in flight at most. 0: any number.
	// Range 1 to 10⁶.
	MaxConcurrent int
	// Adaptive computes the limit, between 2 and MaxConcurrent, which must be
	// set. It grows while every slot is in use and latency stays near its
	// baseline, and shrinks when calls take longer by half, or a tenth of them
	// end with DEADLINE_EXCEEDED, UNAVAILABLE or RESOURCE_EXHAUSTED. It starts
	// at 20. Streams affect it only by such ends. It is better than a fixed
	// limit where the server's capacity is unknown or changes: of a server that
	// lost half of its 20 workers at 85 % load, with deadlines of 50 ms,
	// callers got 826 of the possible 880 answers a second under an adaptive
	// limit, 739 under a fixed one of 20, and none under one of 40. It costs up
	// to 4 % of the throughput where single calls take many times longer than
	// most, and needs seconds to adjust when all calls become slower. Use it
	// with a MaxWait well below the callers' deadlines.
	Adaptive bool
	// MaxQueue is how many calls wait at most. 0: calls that may not start are
	// refused at once. Range 1 to 10⁶. It requires MaxConcurrent or Rate.
	MaxQueue int
	// MaxWait is how long each call waits at most. 0: as long as its context
	// allows. A call whose turn under Rate would come after MaxWait or its
	// deadline is refused at once. It requires MaxQueue.
	MaxWait time.Duration
	// Rate is how many calls start in a second on average: in any time, never
	// more than Rate × time + Burst. Retries and hedges are not counted; see
	// [Budget]. 0: any number. Range (0, 10⁹].
	Rate float64
	// Burst is how many calls may start at once after a pause. 0: Rate, rounded
	// up. Range 1 to 10⁶. It requires Rate.
	Burst int
}
