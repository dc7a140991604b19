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
//	plan      the method's policy and state: one atomic load; Reload replaces it
//	admit     the limit gives it a slot, at once or after a wait, or refuses it with
//	          [ErrLimited]; the breaker lets it pass, or refuses it with [ErrBreakerOpen]
//	attempt   if it fails: another one after a backoff, or none, and why
//	settle    limit, breaker, budget and observers receive the outcome
//	fallback  answers a call that failed, if there is one
//
// # Streams
//
// Until a stream is committed (the caller has received a message, a header or a
// clean end; headers had come when the attempt failed; more was sent than is
// kept; Context or Trailer was called) it is retried like a call, and what was
// sent is sent again. After that the inner stream is passed through. See
// [Resume] for server streams that are cut later. Callers must receive to the
// end or end the context: until then a stream holds its slot in the limit and
// as a probe, and is not counted. A Header, Trailer or Peer option is not
// filled if the context ends the stream.
//
// # What the caller sees
//
// The reply, header, trailer and peer of the last attempt, and its error,
// unchanged. (When a backoff of grpc-go's own retries runs into the deadline,
// DEADLINE_EXCEEDED hides that error.) grpc.OnFinish callbacks are called once.
// A unary call is retried even if a header came before the failure, since
// nothing of it has been delivered: many servers set headers first. grpc-go
// does not retry these. A wait-for-ready call waits for its connection in each
// attempt. Without it, attempts made while the channel reconnects all fail by
// the same dial; the backoff after one ends when there is a connection.
//
// A service config's timeout and waitForReady apply beneath the suite, to each
// attempt. grpc-go's transparent retries, of requests that never reached a
// server's application, stay on and are invisible here.
package interceptors
