package engine

import (
	"sync/atomic"
	"time"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hedge"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/internal/verdict"
)

// Policy is a policy as calls use it. It is immutable.
type Policy struct {
	Retry          retry.Policy
	Timeout        time.Duration
	AttemptTimeout time.Duration
	Failures       astracodes.Set
	SlowCall       time.Duration // 0: none is slow
	Breaker        breaker.Config
	Budget         budget.Config
	BreakerOff     bool
	BreakerObserve bool // it is judged, and refuses nobody
	LimitObserve   bool // likewise
	BudgetOff      bool
	Repeat         verdict.Repeat
	BufferBytes    int // of a stream's messages kept to be sent again
	Limit          limit.Config
	Hedge          hedge.Config
	HedgeDelay     time.Duration // 0: the method's own p95
}

// Hedges reports whether calls are made side by side.
func (c *Policy) Hedges() bool { return c.Hedge.MaxAttempts > 1 }

// Plan is what the engine needs of a plan.
type Plan struct {
	Target, Method string
	Adaptive       bool           // the limit is
	Breaker        *breaker.Guard // nil: none
	Budget         *budget.Guard  // nil: none
	Limit          *limit.Guard   // nil: none
	Recorders      *hooks.Recorders
	Record         *journal.Record                          // nil: nothing is kept
	LastGood       *fleet.LastGood                          // of the method's calls; read only if they are balanced
	Peers          *fleet.Peers                             // of the method's attempts whose backend the suite does not choose
	Losses         *atomic.Uint64                           // connections lost with calls on them, as far as one event can be distinguished from another
	Changed        func(*breaker.Guard, breaker.Transition) // called after each of the breaker's transitions
}
