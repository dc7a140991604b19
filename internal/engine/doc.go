// Package engine is one call's life: admission, attempts, settlement. It decides
// and keeps the books; attempts, timers and goroutines belong to the driver that
// owns the [Call], and neither a transport nor a stream is known here.
//
//	Init, InitStream
//	          prepare a call of a plan
//	Start     begins it: the Start hooks
//	Admit     asks the limit, which may return a Wait for the driver, then the breaker
//	Begin     starts an attempt: its context, its number for the server
//	End       closes its books: [Evidence] becomes a verdict (package verdict)
//	Next      another attempt after a delay, or the end and why. These may veto, in
//	          this order: the retry policy, the breaker, the budget
//	Pause, Resume
//	          around the backoff; Resume asks the breaker once more
//	Settle    reports to limit, breaker and budget how the call ended, once
//	Finish    emits the end of the call, once
//	Release   lets go of everything
//	Unwind    does what is left of all that after a panic or runtime.Goexit
//
// Attempts side by side have Launch, EndOf, Adopt, Abandon and Expire in place of
// Begin, End and Next. A call is used by one goroutine at a time.
package engine
