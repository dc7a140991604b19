package interceptors

import "context"

// Fallback answers a unary call that failed, retries and all, or that the
// breaker refused: it fills reply and returns nil, or returns the error that
// the caller is to see. err is the call's real error; method is the full
// method name. A fallback is asked after everything else has been settled, so
// what it does concerns no breaker and no budget, and its panic or error
// surfaces unchanged. It is not asked when the caller has cancelled.
//
// ctx is the caller's: its deadline may have passed, since an answer from a
// cache is welcome then too. The reply is emptied first, as a failed attempt may
// have left something in it: a proto.Message is reset, another is made what it
// was before the call. Fallbacks run on their
// callers' goroutines, so many at a time.
type Fallback func(ctx context.Context, method string, req, reply any, err error) error
