package peers

import (
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/metrics"
)

// Astra returns a suite with metrics in a registry, as a service would have
// it. Without options every policy is the default: retry, budget and breaker.
func Astra(opts ...interceptors.Option) *interceptors.Suite {
	m := metrics.New()
	prometheus.NewRegistry().MustRegister(m)
	return AstraBare(append(opts, interceptors.WithObserver(m))...)
}

// AstraBare returns a suite without metrics: what the policies alone cost. It logs
// to nowhere: hundreds of them would drown the report.
func AstraBare(opts ...interceptors.Option) *interceptors.Suite {
	s, err := interceptors.New(append(opts, interceptors.WithLogger(slog.New(slog.DiscardHandler)))...)
	if err != nil {
		panic(err)
	}
	return s
}

// AstraRetryOnly is a policy that retries at once, whatever it costs:
// nothing but the retry loop is on.
func AstraRetryOnly() interceptors.Option {
	return interceptors.WithPolicy(interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: Attempts, Backoff: atOnce},
		Breaker: interceptors.Breaker{Disabled: true},
		Budget:  interceptors.Budget{Disabled: true},
	})
}

// AstraPatient is a policy that retries at once, with breaker and budget on and
// so wide that a server that only fails trips neither.
func AstraPatient() interceptors.Option {
	return interceptors.WithPolicy(interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: Attempts, Backoff: atOnce},
		Breaker: interceptors.Breaker{Consecutive: math.MaxInt32, MinCalls: math.MaxInt32},
		Budget:  interceptors.Budget{MinPerSecond: 1e6, Burst: 1e6},
	})
}

// AstraLimited is the default with limits of concurrency and rate that nobody
// reaches.
func AstraLimited() interceptors.Option {
	return interceptors.WithPolicy(interceptors.Policy{
		Limit: interceptors.Limit{MaxConcurrent: 1000, MaxQueue: 1000, Rate: 1e9},
	})
}

// AstraArmed is a policy that would hedge, but so late that it never does.
func AstraArmed() interceptors.Option {
	return interceptors.WithMethodPolicy(greeterpb.Greeter_SayHello_FullMethodName, interceptors.Policy{
		Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: Armed},
	})
}

// Armed is a hedge's delay that never passes.
const Armed = time.Second

// atOnce is the shortest backoff there is; no timer is set for it.
var atOnce = jitter.Backoff{Base: time.Nanosecond, Max: time.Nanosecond}
