package engine

import (
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/observe"
)

var retryReasons = [...]observe.Reason{
	retry.NotRetryable: observe.ReasonNotRetryable,
	retry.Deadline:     observe.ReasonDeadline,
	retry.PushedBack:   observe.ReasonPushback,
	retry.Committed:    observe.ReasonCommitted,
	retry.Budget:       observe.ReasonBudget,
	retry.Breaker:      observe.ReasonBreaker,
	retry.Buffer:       observe.ReasonBuffer,
	retry.Ambiguous:    observe.ReasonAmbiguous,
}

// RetryReason returns the reason of an event for a verdict, ReasonNone unless it
// is one that [retry.Reason.Suppressed] reports.
func RetryReason(r retry.Reason) observe.Reason { return retryReasons[r] }

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
}

func breakerReason(r breaker.Reason) observe.Reason { return breakerReasons[r] }

var limitReasons = [...]observe.Reason{
	limit.QueueFull:    observe.ReasonQueueFull,
	limit.QueueTimeout: observe.ReasonQueueTimeout,
	limit.RateLimited:  observe.ReasonRateLimited,
}

func limitReason(v limit.Verdict) observe.Reason { return limitReasons[v] }
