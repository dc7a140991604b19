package engine

import (
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/observe"
)

var retryReasons = [...]observe.Reason{
	failure.NotRetryable: observe.ReasonNotRetryable,
	failure.Deadline:     observe.ReasonDeadline,
	failure.PushedBack:   observe.ReasonPushback,
	failure.Committed:    observe.ReasonCommitted,
	failure.Budget:       observe.ReasonBudget,
	failure.Breaker:      observe.ReasonBreaker,
	failure.Buffer:       observe.ReasonBuffer,
	failure.Ambiguous:    observe.ReasonAmbiguous,
}

// RetryReason returns the reason of an event for a verdict, ReasonNone unless it
// is one that [failure.Reason.Suppressed] reports.
func RetryReason(r failure.Reason) observe.Reason { return retryReasons[r] }

var breakerReasons = [...]observe.Reason{
	breaker.None:          observe.ReasonNone,
	breaker.Consecutive:   observe.ReasonConsecutive,
	breaker.FailureRate:   observe.ReasonFailureRate,
	breaker.Balance:       observe.ReasonFailureBalance,
	breaker.SlowRate:      observe.ReasonSlowRate,
	breaker.ProbeFailed:   observe.ReasonProbeFailed,
	breaker.Probing:       observe.ReasonOpenTimeOver,
	breaker.EnoughRefused: observe.ReasonEnoughRefused,
	breaker.Recovered:     observe.ReasonRecovered,
	breaker.Restored:      observe.ReasonRestored,
	breaker.Fleet:         observe.ReasonFleet,
	breaker.ByHand:        observe.ReasonByHand,
}

// BreakerReason returns the reason of an event for a breaker's.
func BreakerReason(r breaker.Reason) observe.Reason { return breakerReasons[r] }

var limitReasons = [...]observe.Reason{
	limit.QueueFull:    observe.ReasonQueueFull,
	limit.QueueTimeout: observe.ReasonQueueTimeout,
	limit.RateLimited:  observe.ReasonRateLimited,
}

func limitReason(v limit.Verdict) observe.Reason { return limitReasons[v] }
