package engine

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/verdict"
)

// pushbackKey is the trailer in which a server says when to try again
// (gRFC A6).
const pushbackKey = "grpc-retry-pushback-ms"

// Evidence is what an attempt left, beside its error, when it ended.
type Evidence struct {
	Known   bool     // there is a connection, so what is missing means something
	Sent    bool     // grpc.Peer was filled: it got a stream on a transport
	Down    bool     // it did not, and there is no connection yet
	Patient bool     // it was to wait for one
	Header  bool     // a header came, as far as that was asked
	Message bool     // a message came
	Peer    net.Addr // whom it got a stream to; nil: not known
	Trailer metadata.MD
	Local   bool           // SendMsg returned an error other than io.EOF
	Ruling  verdict.Ruling // of a classifier, which may be on a reply too
}

// judge looks at an attempt that ended with the call's code, and remembers the
// verdict on it.
func (c *Call) judge(a *Attempt, err error, ev Evidence) {
	now := time.Duration(0)
	if c.stream || c.slot.waited > 0 {
		now = c.Host.Now()
	}
	c.old = c.stream && !c.answered && a.Ctx != nil && now-a.Began >= c.Policy.Breaker.Window
	c.last = verdict.Of(verdict.Attempt{
		Code:     c.codeOf(err, ev),
		Failures: c.Policy.Failures,
		Caller:   verdict.Caller(CallerOf(c.Ctx)),
		Evidence: ev.Known,
		Sent:     ev.Sent,
		Down:     ev.Down,
		Patient:  ev.Patient,
		Header:   ev.Header || c.answered,
		Message:  ev.Message,
		Trailer:  len(ev.Trailer) > 0,
		Local:    ev.Local || ev.Known && ev.Sent && local(err, ev.Trailer),
		Ruling:   ev.Ruling,
		Hurried:  c.slot.waited > 0 && now-c.slot.served < c.slot.waited,
		Stream:   c.stream,
		Old:      c.old,
	})
	c.noteVain(a)
	c.slot.overload = c.slot.overload || c.last.Limit == verdict.Bad
	c.settleBackend(a, c.backendEnd(err, ev), ev.Peer)
}

// codeOf returns the call's code, or the number beyond gRPC's codes that a server has
// answered with: its own word, not the UNKNOWN of a server that is ill.
func (c *Call) codeOf(err error, ev Evidence) codes.Code {
	if s, _ := status.FromError(err); ev.Sent && s.Code() > codes.Unauthenticated {
		return s.Code()
	}
	return c.code
}

// noteVain notes how long an attempt has waited that failed because its time had run
// out: the caller's, or its own. If another failed otherwise, that one's time says
// nothing of how long the server takes.
func (c *Call) noteVain(a *Attempt) {
	if c.code != codes.DeadlineExceeded || c.last.Breaker != verdict.Bad || !c.bounded() {
		c.vain = notInVain
		return
	}
	waited, own := c.Host.Now()-a.Began, c.Policy.AttemptTimeout
	if CallerOf(c.Ctx) != failure.Expired && (own == 0 || waited < own) {
		waited = notInVain // it is the server's own word
	}
	c.vain = max(c.vain, waited)
}

// notInVain is how long a call has waited of which an attempt failed for another reason
// than its time: no call has more.
const notInVain = time.Duration(math.MaxInt64)

// backendEnd is what the verdict on an attempt says of its backend.
func (c *Call) backendEnd(err error, ev Evidence) fleet.End {
	if err == ErrPanicked { //nolint:errorlint // as Unwind has it
		return fleet.End{}
	}
	e := fleet.End{
		Bad:      c.last.Breaker == verdict.Bad,
		Good:     c.last.Breaker == verdict.Good,
		Strained: c.last.Limit == verdict.Bad,
		Alive:    err == nil || ev.Header || ev.Message || len(ev.Trailer) > 0,
		Lost:     c.last.Lost,
	}
	e.Done = err == nil && e.Good
	if c.stream && !e.Bad && (c.answered || ev.Header || ev.Message) {
		e.Good = true // how it ended otherwise says nothing
	}
	return e
}

// settleBackend reports to an attempt's backend how it ended. If the suite did not
// choose it, its address is all there is to distinguish it by.
func (c *Call) settleBackend(a *Attempt, e fleet.End, peer net.Addr) {
	c.elsewhere = false
	if a.backend != nil {
		e.Slow, e.Shard = c.Policy.SlowCall, c.shard
		ch := c.route.End(a.backend, c.Host.Now(), e)
		c.backendChanged(ch)
		if ch.Backend != nil {
			return
		}
	}
	switch {
	case e.Good && !c.stream && c.Plan.Peers.Troubled(): // a stream was answered when it was
		c.Plan.Peers.Succeeded(c.Host.Now(), peer)
	case e.Bad:
		now := c.Host.Now()
		began := now
		if c.bounded() {
			began = a.Began
		}
		c.elsewhere = c.Plan.Peers.Failed(began, now, peer)
	}
}

// local reports whether an error of a call that got a stream is grpc-go's own
// word on a message, to be sent or received. What it says of connections and of
// broken framing begins otherwise. A server may answer with the same words; if
// it does so at once, its trailer has a content type.
func local(err error, trailer metadata.MD) bool {
	if len(trailer["content-type"]) > 0 {
		return false
	}
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Internal, codes.ResourceExhausted, codes.Unimplemented:
		return strings.HasPrefix(s.Message(), "grpc: ") || strings.HasPrefix(s.Message(), "trying to send message larger than max")
	}
	return false
}

// FailureOf gathers what the retry decision needs to know of the attempt that
// ended last. Whether the call's context has ended, not the code, distinguishes
// the caller's cancellation from a server's CANCELLED. A policy that is not nil is the
// call's from here on: it differs in what it says of retries.
func (c *Call) FailureOf(err error, trailer metadata.MD, p *Policy) failure.Failure {
	if p != nil {
		c.Policy = p
	}
	f := failure.Failure{
		Code:      c.code,
		Caller:    CallerOf(c.Ctx),
		Pushback:  failure.ParsePushback(trailer[pushbackKey]),
		RetryInfo: retryInfo(err),
		Remaining: failure.Forever,
		Final:     c.last.Final,
		Again:     c.last.Again,
		Stop:      c.last.Stop,
		Ambiguous: !c.last.May(c.Policy.Repeat),
	}
	if deadline, ok := c.Ctx.Deadline(); ok {
		f.Remaining = c.Host.until(deadline)
	}
	return f
}

// CallerOf returns what has become of a call's context.
func CallerOf(ctx context.Context) failure.Caller {
	switch err := ctx.Err(); {
	case err == nil:
		return failure.Waiting
	case errors.Is(err, context.DeadlineExceeded):
		return failure.Expired
	default:
		return failure.Cancelled
	}
}

// retryInfo returns the delay of a google.rpc.RetryInfo among the error's
// details; 0: none.
func retryInfo(err error) time.Duration {
	s, _ := status.FromError(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return max(1, info.GetRetryDelay().AsDuration()) // zero is a time too
		}
	}
	return 0
}
