package interceptors

import "context"

// Resume makes of a server stream that was cut after it delivered messages the
// request that continues it. sent is what the caller asked for, last the last
// message delivered, and next what to ask for now: from that offset, revision
// or page token on. ok false means that this cannot be continued: the caller
// gets the error.
//
// It is asked after a failure while the caller waits; what the policy does not
// retry is not resumed. Backoff, budget, breaker and deadline hold as for any
// retry, but MaxAttempts and the backoff count from the last message delivered,
// or from an attempt that lived for longer than the longest backoff: a watch may
// idle. A stream that was cut before its first message is sent its request
// again, and the function is not asked.
//
// The caller sees one stream: the first attempt's header, the last one's
// trailer, and a context that lasts as long as the stream, with the values of
// the attempt that it was asked of. sent and last are copies of what the caller
// sent and received, of the caller's types, which the function may keep and
// change; next may be sent itself. A stream whose messages cannot be copied,
// since their codec decodes no requests, or encodes no replies, is not resumed.
// The function is called by the stream's receiver, one call at a time for a
// stream.
type Resume func(ctx context.Context, sent, last any) (next any, ok bool)
