package flakyserver

import (
	"maps"
	"slices"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// end is how an attempt ends.
type end uint8

const (
	endStatus end = iota // with the step's status
	endHang              // when the client goes
	endReset             // with the connection
)

// Step is what one attempt meets: [OK], [Fail], [Hang], [Reset] or [GoAway],
// refined by the methods, each of which returns a changed copy. The zero value
// is OK(). In order: After, GOAWAY, headers, messages, Stall, the end.
type Step struct {
	end     end
	err     error // of endStatus
	goAway  bool
	early   bool // headers before anything else
	header  metadata.MD
	trailer metadata.MD
	delay   time.Duration
	stall   time.Duration
	atOnce  bool // without a worker
	answers []message

	received, replies       int
	receivedSet, repliesSet bool
}

// OK answers as the method does when nothing is wrong.
func OK() Step { return Step{} }

// Fail ends the attempt with a status and no headers (trailers-only), unless
// Header or AfterReplies bring some.
func Fail(c codes.Code, message string) Step { return Step{err: status.Error(c, message)} }

// Hang never answers; the attempt ends when the client goes.
func Hang() Step { return Step{end: endHang} }

// Reset breaks the TCP connection (RST) or the in-memory one, with everything
// on it. Headers and messages of the step itself are delivered before that.
func Reset() Step { return Step{end: endReset} }

// GoAway answers OK, after a GOAWAY frame: the client opens another connection
// for the next call, and this one closes with its last stream.
func GoAway() Step { return Step{goAway: true} }

// Detail adds messages to the details of a Fail's status. It panics on steps
// that have no status, since that is a mistake in the script.
func (s Step) Detail(details ...proto.Message) Step {
	p := s.proto()
	for _, d := range details {
		packed, err := anypb.New(d)
		if err != nil {
			panic("flakyserver: " + err.Error())
		}
		p.Details = append(p.Details, packed)
	}
	s.err = status.ErrorProto(p)
	return s
}

func (s Step) proto() *spb.Status {
	if s.err == nil {
		panic("flakyserver: details need a Fail with a code other than OK")
	}
	return status.Convert(s.err).Proto() // a copy
}

// RetryInfo adds a google.rpc.RetryInfo to the details.
func (s Step) RetryInfo(d time.Duration) Step {
	return s.Detail(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
}

// Reply sends these messages instead of what the method answers by itself, then
// ends the attempt; with AfterReplies as many as that says, the last again and
// again. On a bidirectional stream each answers a message of the client, and the
// rest come when the client has closed its side. It panics on a message that
// cannot be encoded, since that is a mistake in the script.
func (s Step) Reply(messages ...proto.Message) Step {
	s.answers = nil
	for _, m := range messages {
		b, err := proto.Marshal(m)
		if err != nil {
			panic("flakyserver: " + err.Error())
		}
		s.answers = append(s.answers, b)
	}
	return s
}

// Pushback sets the trailer grpc-retry-pushback-ms, verbatim: malformed values
// and several of them are sent as given.
func (s Step) Pushback(values ...string) Step {
	s.trailer = maps.Clone(s.trailer)
	if s.trailer == nil {
		s.trailer = metadata.MD{}
	}
	s.trailer["grpc-retry-pushback-ms"] = slices.Clone(values)
	return s
}

// Header sends headers before all messages and the end, with these pairs added;
// without pairs, just the headers that every answer has.
func (s Step) Header(pairs ...string) Step {
	s.early = true
	s.header = metadata.Join(s.header, metadata.Pairs(pairs...))
	return s
}

// Trailer adds pairs to the trailers.
func (s Step) Trailer(pairs ...string) Step {
	s.trailer = metadata.Join(s.trailer, metadata.Pairs(pairs...))
	return s
}

// After waits first, before headers are sent.
func (s Step) After(d time.Duration) Step {
	s.delay = d
	return s
}

// AtOnce needs none of the server's [Capacity]: the attempt neither queues nor
// keeps a worker, as one that a proxy turns away.
func (s Step) AtOnce() Step {
	s.atOnce = true
	return s
}

// Stall waits last: after headers and messages, before the end.
func (s Step) Stall(d time.Duration) Step {
	s.stall = d
	return s
}

// AfterReplies ends the attempt when the method has sent n replies; for a
// method that answers once, 1 means reply first and fail then. On an OK server
// stream it is the number of replies.
func (s Step) AfterReplies(n int) Step {
	s.replies, s.repliesSet = n, true
	return s
}

// AfterReceived ends the attempt when n messages of a client stream or
// bidirectional stream have been received, or all there are.
func (s Step) AfterReceived(n int) Step {
	s.received, s.receivedSet = n, true
	return s
}

// limits are the messages to receive and to send before the end; -1 as many as
// the method's nature has.
func (s Step) limits() (received, replies int) {
	if s.end == endStatus && s.err == nil {
		received, replies = -1, -1
	}
	if n := len(s.answers); n > 0 {
		replies = n
	}
	if s.receivedSet {
		received = s.received
	}
	if s.repliesSet {
		replies = s.replies
	}
	return received, replies
}
