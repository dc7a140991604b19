// Package engine is one call's life: admission, attempts, settlement. It decides
// and keeps the books; attempts, timers of attempts and goroutines belong to the
// driver that owns the [Call], and neither a transport nor a stream is known here.
//
//	Admit     asks the limit, which may have the call wait, then the breaker
//	Begin     starts an attempt: its context, its number for the server
//	End       closes its books: [Evidence] becomes a verdict (package verdict)
//	Next      another attempt after a delay, or the end and why. These may veto, in
//	          this order: the retry policy, the breaker, the budget
//	Pause, Paused, Resume
//	          around the backoff; Resume asks the breaker once more
//	Settle    reports to limit, breaker and budget how the call ended, once
//	Close     emits the end of the call, once
//	Unwind    does what is left of all that after a panic or runtime.Goexit
//
// A call is used by one goroutine at a time.
package engine
