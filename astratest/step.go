package astratest

import (
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/astra-grpc/astra/internal/flakyserver"
)

// Any stands for all methods that have no script of their own. They share one.
const Any = flakyserver.Any

// Step is what one attempt meets: [OK], [Fail], [Hang], [Reset] or [GoAway],
// refined by its methods, each of which returns a changed copy. The zero Step is
// OK(). In order: After, GOAWAY, headers, replies, Stall, the end.
type Step struct{ step flakyserver.Step }

// OK answers as the method does when nothing is wrong.
func OK() Step { return Step{flakyserver.OK()} }

// Fail ends the attempt with a status and no headers (trailers-only), unless
// Header or Reply bring some.
func Fail(c codes.Code, message string) Step { return Step{flakyserver.Fail(c, message)} }

// Hang never answers; the attempt ends when the client gives it up.
func Hang() Step { return Step{flakyserver.Hang()} }

// Reset breaks the connection (RST over TCP) with all that is on it: before
// anything came, after the headers with Header, after messages with Reply or
// AfterReplies, which are delivered.
func Reset() Step { return Step{flakyserver.Reset()} }

// GoAway answers OK, after a GOAWAY frame: the client opens another connection
// for its next call.
func GoAway() Step { return Step{flakyserver.GoAway()} }

// After waits for d first, before headers, as a slow server does.
func (s Step) After(d time.Duration) Step { return Step{s.step.After(d)} }

// Stall waits for d last: after headers and messages, before the end.
func (s Step) Stall(d time.Duration) Step { return Step{s.step.Stall(d)} }

// Header sends headers first, with these pairs added; without pairs, just those
// that every answer has.
func (s Step) Header(pairs ...string) Step { return Step{s.step.Header(pairs...)} }

// Trailer adds pairs to the trailers.
func (s Step) Trailer(pairs ...string) Step { return Step{s.step.Trailer(pairs...)} }

// Reply answers with these messages, and ends. On a bidirectional stream each
// answers a message of the client; the rest come when it has closed its side.
// It panics on a message that cannot be encoded, which is a mistake in the
// script.
func (s Step) Reply(messages ...proto.Message) Step { return Step{s.step.Reply(messages...)} }

// AfterReplies ends the attempt after n replies of the method; for a method that
// answers once, 1 means to reply first and fail then.
func (s Step) AfterReplies(n int) Step { return Step{s.step.AfterReplies(n)} }

// AfterReceived ends the attempt when n messages of a client stream have come,
// or all if there are fewer.
func (s Step) AfterReceived(n int) Step { return Step{s.step.AfterReceived(n)} }

// Detail adds messages to the details of a Fail's status. It panics on a step
// without a status, which is a mistake in the script.
func (s Step) Detail(details ...proto.Message) Step { return Step{s.step.Detail(details...)} }

// RetryInfo adds a google.rpc.RetryInfo to the details, a hint when to try again.
func (s Step) RetryInfo(d time.Duration) Step { return Step{s.step.RetryInfo(d)} }

// Pushback sets the trailer grpc-retry-pushback-ms (gRFC A6): the next attempt
// is to come after d, in whole milliseconds; if d is negative, none is.
func (s Step) Pushback(d time.Duration) Step {
	ms := d.Milliseconds()
	if d < 0 {
		ms = -1
	}
	return Step{s.step.Pushback(strconv.FormatInt(ms, 10))}
}

func steps(all []Step) (inner []flakyserver.Step) {
	for _, s := range all {
		inner = append(inner, s.step)
	}
	return inner
}
