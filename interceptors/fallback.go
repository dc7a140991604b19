package interceptors

import "context"

// Fallback answers a unary call that failed, retries and all, or that the
// breaker refused: it fills reply and returns nil, or returns the error that
// the caller is to see. err is the call's real error; method is the full method
// name. A fallback runs after everything else has been settled, so its result
// affects neither breaker nor budget, and its panic or error surfaces
// unchanged. It is not called when the caller has cancelled.
//
// ctx is the caller's: its deadline may have passed, since an answer from a
// cache is still useful then. The reply is emptied first, since a failed
// attempt may have left something in it: a proto.Message is reset, a reply of
// another type is restored to what it was before the call. Fallbacks run on
// their callers' goroutines, and must be safe for concurrent use.
type Fallback func(ctx context.Context, method string, req, reply any, err error) error
