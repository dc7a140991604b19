// Package interceptors keeps gRPC calls alive: retries by status code with
// jittered backoff, a retry budget, a circuit breaker, limits and a fallback, for
// clients that add two lines to [grpc.NewClient]:
//
//	suite, err := interceptors.New()
//	…
//	conn, err := grpc.NewClient(target, append(suite.DialOptions(), creds)...)
//
// [New] takes policies for all methods, for a service's and for single ones
// ([WithPolicy], [WithMethodPolicy]); [WithCallPolicy] and [NoRetry] change a
// single call. The zero [Policy] is the default. [WithStore] lets the state of
// breakers and budgets outlive the process; see package state.
//
// # A call's way
//
//	plan     what the method needs: one atomic load; replaced whole by Reload
//	admit    the limit has a slot for it, at once or in a while, or refuses it with
//	         [ErrLimited]; the breaker lets it pass, or refuses it with [ErrBreakerOpen]
//	attempt  … fails: again after a backoff, or not, and why
//	settle   limit, breaker and budget hear how it ended, observers too
//	fallback answers what failed, if there is one
//
// # Streams
//
// Until a stream is committed (the caller has got a message, a header or a clean
// end; headers had come when the attempt failed; more was sent than is kept;
// Context or Trailer was called) it is retried like a call, and what was sent is
// sent again. After that the inner stream is passed through. See [Resume] for
// server streams that are cut later. Receive to the end, or end the context:
// until then a stream holds its slot, its probe slot, and is not counted. A Header,
// Trailer or Peer option is not filled if the context ends the stream.
//
// # What the caller sees
//
// The reply, header, trailer and peer of the last attempt, and its error
// unchanged, where grpc-go's own retries would hide it behind a deadline that a
// backoff ran into. grpc.OnFinish callbacks are called once. A unary call is
// retried even if a header came before the failure, as nothing of it has been
// delivered (grpc-go does not); servers that set headers first are the reason.
// A wait-for-ready call waits for its connection in each attempt. Without it,
// attempts made while the channel reconnects all fail by the same dial; the backoff
// after one ends when there is a connection.
//
// A service config's timeout and waitForReady apply beneath, to each attempt.
// grpc-go's transparent retries, of requests that never reached a server's
// application, stay on and are invisible here.
package interceptors
