// Package codes has sets of gRPC status codes, and the three that the other
// packages use: [Retryable], [RetryableIdempotent] and [Failure]. Where both
// are needed, import this one as astracodes beside
// google.golang.org/grpc/codes.
//
// # The codes
//
// "from" says who produces the code: app is the server's application, server
// and client are the gRPC library on either side (gRPC's doc/statuscodes.md,
// and what grpc-go adds to it). "retry" says whether the code is in
// [Retryable], "breaker" whether it is in [Failure]: whether it speaks against
// the server's health.
//
//	code                | from                | retry | breaker | why
//	OK                  | app                 | no    | no      | success
//	CANCELLED           | app, server, client | no    | no      | the caller gave up, or its channel was closed
//	UNKNOWN             | app, server, client | no    | yes     | an error without a status, an answer nobody can read
//	INVALID_ARGUMENT    | app, server, client | no    | no      | the request is wrong and will stay so
//	DEADLINE_EXCEEDED   | app, server, client | yes   | yes     | too slow; retried only while the caller's own context lives
//	NOT_FOUND           | app                 | no    | no      | an answer, of a server that works
//	ALREADY_EXISTS      | app                 | no    | no      | an answer; after a retry perhaps to our own first attempt
//	PERMISSION_DENIED   | app, server, client | no    | no      | the caller may not, and asking again changes nothing
//	RESOURCE_EXHAUSTED  | app, server, client | hint  | no      | a quota of one caller says nothing about the server's health
//	FAILED_PRECONDITION | app                 | no    | no      | somebody must change the state first
//	ABORTED             | app                 | no    | no      | retried a level above: read again, then write
//	OUT_OF_RANGE        | app                 | no    | no      | the end was reached: an answer
//	UNIMPLEMENTED       | app, server, client | no    | no      | this server lacks the method, its others may be well
//	INTERNAL            | app, server, client | no    | yes     | something is broken; a retry meets it again
//	UNAVAILABLE         | app, server, client | yes   | yes     | transient by definition: no connection, or shutting down
//	DATA_LOSS           | app                 | no    | yes     | unrecoverable, so no retry recovers it
//	UNAUTHENTICATED     | app, server, client | no    | no      | the credentials are missing or wrong
//
// "hint" is a condition: RESOURCE_EXHAUSTED is in neither set, yet it is
// retried when the server says when, by google.rpc.RetryInfo or by
// grpc-retry-pushback-ms. Without that a retry only uses up more of the quota.
//
// # Whose cancellation, whose deadline
//
// The code alone does not say. DEADLINE_EXCEEDED may be the caller's deadline,
// which leaves no time for a retry, or that of one attempt, of a service config
// or of the server, which does. CANCELLED may be sent by a server, for a call
// of its own that was cancelled, or be the result of a stream reset on the way,
// while the caller still waits: it is then not the caller's cancellation, but
// does not promise that another attempt succeeds either. So the caller's
// ctx.Err() decides whose context ended, never the code; the caller's own
// cancellation is neither retried nor a failure of the server.
//
// # Safe to repeat
//
// UNAVAILABLE means that the server probably did not process the request; but a
// connection can break after the request was served. DEADLINE_EXCEEDED does not
// mean even that. Retries are for methods that may be repeated. For those that
// certainly may, [RetryableIdempotent] retries more.
package codes
