package interceptors

import (
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/observe"
)

type (
	Observer          = observe.Observer
	InlineObserver    = observe.InlineObserver
	Recorder          = observe.Recorder
	Starter           = observe.Starter
	SuccessRecorder   = observe.SuccessRecorder
	SelectiveObserver = observe.SelectiveObserver
	TimedObserver     = observe.TimedObserver
	SuiteObserver     = observe.SuiteObserver
	Kind              = observe.Kind
	AttemptKind       = observe.AttemptKind
	HedgeResult       = observe.HedgeResult
	Event             = observe.Event
	Outcome           = observe.Outcome
	BreakerState      = observe.BreakerState
	Endpoint          = observe.Endpoint
	LimitState        = observe.LimitState
	Notice            = observe.Notice
	NoticeKind        = observe.NoticeKind
)

const (
	CallStart         = observe.CallStart
	AttemptStart      = observe.AttemptStart
	AttemptEnd        = observe.AttemptEnd
	BackoffStart      = observe.BackoffStart
	BackoffEnd        = observe.BackoffEnd
	Suppressed        = observe.Suppressed
	BreakerChange     = observe.BreakerChange
	CallEnd           = observe.CallEnd
	Replayed          = observe.Replayed
	Hedged            = observe.Hedged
	Queued            = observe.Queued
	Dequeued          = observe.Dequeued
	Limited           = observe.Limited
	FirstAttempt      = observe.FirstAttempt
	RetryAttempt      = observe.RetryAttempt
	ResumeAttempt     = observe.ResumeAttempt
	HedgeAttempt      = observe.HedgeAttempt
	HedgeWon          = observe.HedgeWon
	HedgeLost         = observe.HedgeLost
	HedgeSuppressed   = observe.HedgeSuppressed
	SuccessFirst      = observe.SuccessFirst
	SuccessAfterRetry = observe.SuccessAfterRetry
	SuccessHedge      = observe.SuccessHedge
	Failed            = observe.Failed
	RejectedBreaker   = observe.RejectedBreaker
	RejectedLimit     = observe.RejectedLimit
	Rescued           = observe.Rescued
	BreakerClosed     = observe.BreakerClosed
	BreakerHalfOpen   = observe.BreakerHalfOpen
	BreakerOpen       = observe.BreakerOpen
	Reloaded          = observe.Reloaded
	StateRestored     = observe.StateRestored
	StateSaved        = observe.StateSaved
	StateShared       = observe.StateShared
)

func Outcomes() []Outcome { return observe.Outcomes() }

var (
	ErrBreakerOpen = engine.ErrBreakerOpen
	ErrLimited     = engine.ErrLimited
)
