package interceptors

import "context"

// Resume makes of a server stream that was cut after it delivered messages the
// request that continues it. sent is the caller's request, last the last
// message delivered, and next the request that continues from there: from that
// offset, revision or page token on. If ok is false the stream cannot be
// continued, and the caller gets the error.
//
// It is called after a failure while the caller waits; what the policy does not
// retry is not resumed. Backoff, budget, breaker and deadline hold as for any
// retry, but MaxAttempts and the backoff count from the last message delivered,
// or from an attempt that lived for longer than the longest backoff: a watch
// may idle. If a stream was cut before its first message, the caller's request
// is sent again, and the function is not called.
//
// The caller sees one stream: the first attempt's header, the last one's
// trailer, and a context that lasts as long as the stream, with the values of
// the attempt that was current when Context was called. sent and last are
// copies of what the caller sent and received, of the caller's types, which the
// function may keep and change; next may be sent itself. A stream whose
// messages cannot be copied, since their codec decodes no requests, or encodes
// no replies, is not resumed. The function is called by the stream's receiver,
// once at a time for each stream.
type Resume func(ctx context.Context, sent, last any) (next any, ok bool)
