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

	// Timeout bounds the whole call, its wait for the limit and backoffs
	// included, of a stream its life. 0: only the caller's own deadline does. The
	// earlier of the two counts.
	Timeout time.Duration
	// AttemptTimeout bounds each attempt, of a stream its time until it is
	// committed. An attempt that exceeds it ends with DEADLINE_EXCEEDED and is
	// retried if Retry.Codes has that. 0: none. It must not be above Timeout.
	AttemptTimeout time.Duration
}

// Retry repeats failed attempts after a backoff.
//
// An attempt is retried if its code is in Codes and the caller still waits. A
// server's pushback (trailer grpc-retry-pushback-ms, gRFC A6) sets the next
// delay exactly or ends the call; its google.rpc.RetryInfo stretches the delay
// by up to 5 s; either makes RESOURCE_EXHAUSTED retryable. A backoff that cannot
// end before the call's deadline is not begun. A backoff after an attempt without a
// connection ends as soon as there is a connection. A call that fails returns its
// last attempt's error, unchanged.
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
	// Codes are retried. 0: [astracodes.Retryable]. It must not contain OK.
	Codes astracodes.Set
	// IdempotentCodes are retried too, where the method's descriptor declares
	// it NO_SIDE_EFFECTS or IDEMPOTENT (idempotency_level in the .proto file).
	// 0: none; [astracodes.RetryableIdempotent] is meant for it. It must not
	// contain OK.
	IdempotentCodes astracodes.Set
	// PerCode replaces Backoff after failures with these codes, which Codes or
	// IdempotentCodes must contain (RESOURCE_EXHAUSTED excepted). RESOURCE_EXHAUSTED, say, may
	// deserve more patience than UNAVAILABLE.
	PerCode map[codes.Code]jitter.Backoff
	// BufferBytes bounds what a stream keeps of what it sent, to send it again:
	// the encoding of each message, 5 bytes for the first, and 128 bytes for each
	// after that, which is what keeping it costs. A stream that sends more, or
	// what cannot be kept as it was, is committed. 0: 256 KiB. All streams of a suite keep 64 MiB at most. It has
	// no effect on unary calls.
	BufferBytes int
}

// Hedge starts further attempts of a call while the first still runs, and takes
// the first good answer (gRFC A6, "hedging policy"): it cuts the tail that slow
// servers make, at the price of a few attempts more. It is for unary calls, and
// for server streams until their first message; streams that the client sends
// on are not hedged. A call is hedged or retried, not both: with hedging on, a
// zero Retry means no retry.
//
// An OK or a fatal code ends the call. A non-fatal failure starts the next
// attempt immediately; it becomes the call's error only if no other attempt runs
// or may still start. RESOURCE_EXHAUSTED is not fatal if the
// server says when to try again. A server's pushback sets the time of the next
// attempt, or, negative, stops new ones and lets the others finish. Hedges
// take tokens of the [Budget] as retries do; if a hedge is refused a token, the
// attempts already running go on alone. To the breaker a hedged call is one call.
//
// Attempts that lost are cancelled. The first runs on the caller's goroutine,
// with the caller's messages, so the call returns once that attempt has obeyed its
// cancellation; interceptors beneath must not delay it. The other attempts are not
// waited for and have copies of the request and replies of their own. So when
// the call returns, its messages are the caller's alone. Messages that are
// neither proto.Message nor pointers that the call's codec can copy fail the
// call with FAILED_PRECONDITION. Observers may hear of a hedged call on another
// goroutine than its caller's. A lost attempt reads as CANCELLED to load balancers: xDS
// outlier detection counts it against its backend.
//
// A method may run twice at the same time, so a policy for many methods hedges
// only those whose descriptor declares them NO_SIDE_EFFECTS or IDEMPOTENT; of
// others it makes single attempts, and logs a warning once. [WithMethodPolicy]
// with a method's full name hedges any, and so does [WithCallPolicy].
type Hedge struct {
	// MaxAttempts counts the first attempt too. 0 or 1: off. Range 1 to 10.
	MaxAttempts int
	// Delay is the time from one start to the next. 0: the time within which
	// 95 % of the method's recent successful attempts had ended, and not before
	// 100 of them are known in the last one to two minutes (about one call a
	// second); until then only failures start another attempt. It is known to
	// 1/16 of itself, and at least 1 ms.
	Delay time.Duration
	// NonFatal are the codes of failures that do not end the call.
	// 0: [astracodes.Retryable]. For none, as gRFC A6 has it for an empty
	// list, give codes.Of(codes.OK): no failure is OK.
	NonFatal astracodes.Set
}

func (h Hedge) on() bool { return h.MaxAttempts > 1 }

// on reports whether anything asks for a second attempt.
func (r Retry) on() bool {
	return r.MaxAttempts > 1 || r.Backoff != (jitter.Backoff{}) || r.Codes != 0 || r.IdempotentCodes != 0 || len(r.PerCode) > 0
}

// Breaker refuses calls to a method of a target that fails, so that a dead
// server is left alone and its callers learn at once. Calls are refused with
// [ErrBreakerOpen].
//
// It is kept for each pair of target and method. Failures are the codes in
// Failures, once per call. Successes are OK and every other code that the server
// itself answers with, CANCELLED and RESOURCE_EXHAUSTED excepted. The caller's
// cancellation, and what this client could not send, count as nothing; nor does a
// wait-for-ready call that found no connection in time. A breaker that opened for
// want of a connection probes as soon as there is one. One that opened because
// calls ran out of time refuses no call whose deadline leaves it at least twice the
// longest of their times, until such a call has waited in vain.
type Breaker struct {
	// Disabled lets every call pass and counts nothing.
	Disabled bool
	// Mode is whether the breaker refuses calls. 0: [ModeEnforce].
	Mode Mode
	// FailureRate opens the breaker at this share of failures among the calls
	// in Window, once these are MinCalls. 0: 0.5. Range (0, 1].
	//
	// To catch a server that has just started failing, even at low traffic,
	// failures are also weighed against recent successes (a cumulative sum, CUSUM): a failure counts one, a success takes off
	// ⅘ · FailureRate/(1−FailureRate), by default ⅘, down to zero. The breaker
	// opens at twice Consecutive, or at FailureRate · MinCalls if that is more,
	// by default 14.
	FailureRate float64
	// MinCalls is how many calls the rates need. 0: 20.
	MinCalls int
	// Window is what the rates look back on, in tenths. 0: 10 s. Range 10 ms
	// to 1 h.
	Window time.Duration
	// Consecutive opens the breaker at this many failures in a row, however
	// long they took: slow traffic trips it too. 0: 7.
	Consecutive int
	// SlowCall is the duration of a unary call's last attempt from which on it
	// counts as slow. 0: none does.
	SlowCall time.Duration
	// SlowRate opens the breaker at this share of slow calls among those in
	// Window. 0: 0.5. Range (0, 1]. It requires SlowCall.
	SlowRate float64
	// OpenFor is how long the breaker stays open at first, ±20 % by chance, so
	// that clients do not return together. It doubles each time it runs out and
	// the probes fail, up to MaxOpenFor. 0: 1 s.
	OpenFor time.Duration
	// MaxOpenFor is the longest open time. 0: 60 s, or OpenFor if that is more.
	MaxOpenFor time.Duration
	// ProbeShare is how many probes may come before the open time is over, as a
	// share of the calls refused: one after each ten, by default. To a busy
	// client that is a probe every moment, to an idle client none. Each is one
	// attempt, at least a tenth of OpenFor after the one before; if it fails,
	// the next open time is no longer than the last. While probes
	// hang, more may start at the same price. 0: 0.1. Range (0, 1]; a tiny share
	// leaves all probes to the end of the open time.
	ProbeShare float64
	// Probes is how many calls are let through at once when the breaker probes;
	// that many successes close it, one failure opens it again.
	// A probe that has not ended after 10 s (or Timeout, if that is more)
	// gives its slot to another. 0: 1. Range 1 to 1000.
	Probes int
	// Failures are the codes that count against the server.
	// 0: [astracodes.Failure].
	Failures astracodes.Set
}

// Budget bounds the load that attempts beyond the first may add: a token
// bucket that successful calls fill. Methods of one target with equal Budgets
// share one. A retry takes its token when it is decided, before its backoff,
// and gives it back if it is not made. A call refused a token fails with its
// attempt's own error.
//
//	attempts ≤ calls + Ratio × successes + MinPerSecond × time + Burst
type Budget struct {
	// Disabled lets every retry pass.
	Disabled bool
	// Ratio is what a successful call adds. 0: 0.2. Range (0, 10].
	Ratio float64
	// MinPerSecond is what a second adds, for clients with little traffic. Each
	// client of a server has it, so a fleet's retries add up whatever becomes
	// of them. 0: 0.1. Range (0, 10⁶].
	MinPerSecond float64
	// Burst is the most tokens held, and those held at first. 0: 50. Range
	// 1 to 10⁶.
	Burst float64
}

// Limit bounds how many calls are in flight, how often they start, and how many
// wait for that. Calls that may not go, nor wait, are refused with [ErrLimited].
//
// It is kept for each pair of target and method. A call holds its slot until it
// has ended, its retries, backoffs and hedges included, a stream for its life.
// Calls that cannot start yet wait in one FIFO queue and leave it when their
// context ends. A call that the breaker would refuse does not wait; if the breaker
// refuses a call after its wait, the call returns slot and token. A refusal counts
// as a failure neither for the breaker nor for the server.
type Limit struct {
	// Mode is whether the limit refuses calls, and has them wait. 0: [ModeEnforce].
	Mode Mode
	// MaxConcurrent is how many calls are in flight at most. 0: any number.
	// Range 1 to 10⁶.
	MaxConcurrent int
	// Adaptive computes the limit, between 2 and MaxConcurrent, which must be set.
	// It grows while every slot is in use and latency stays near its baseline,
	// and shrinks when calls take longer by half, or a tenth of them end with
	// DEADLINE_EXCEEDED, UNAVAILABLE or RESOURCE_EXHAUSTED. It starts at 20. Streams
	// affect it only by such ends. It beats a fixed limit where what the
	// server can take is not known or changes: a server that lost half of its 20
	// workers at 85 % load, its callers giving up after 50 ms, answered 826 of
	// the 880 calls a second that it still could under an adaptive limit, 739
	// under a fixed one of 20, none under one of 40. It costs a share of the
	// throughput, up to 4 %, where single calls take many times longer than
	// most, and seconds to adjust where all calls become slower by nature.
	// Give it a MaxWait well below your deadlines.
	Adaptive bool
	// MaxQueue is how many calls wait at most when they may not go. 0: they are
	// refused at once. Range 1 to 10⁶. It requires MaxConcurrent or Rate.
	MaxQueue int
	// MaxWait is how long each waits at most. 0: as long as its context allows.
	// A call whose turn, by the rate, comes only after MaxWait or its deadline is
	// refused at once. It requires MaxQueue.
	MaxWait time.Duration
	// Rate is how many calls start in a second, in the long run: never more than
	// Rate × time + Burst. Retries and hedges are not counted; see [Budget].
	// 0: any number. Range (0, 10⁹].
	Rate float64
	// Burst is how many calls start at once after a pause. 0: those of a second,
	// Rate rounded up. Range 1 to 10⁶. It requires Rate.
	Burst int
}
