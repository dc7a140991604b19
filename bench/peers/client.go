package peers

import (
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	aegis "github.com/go-kratos/aegis/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/interceptors"
)

// Client is a contender under load: what a service dials with.
type Client struct {
	lab.Contender
	// Baseline is what all others are measured by: it is no policy to beat.
	Baseline bool
	// Options makes its interceptors anew, so that every experiment begins
	// with fresh breakers and budgets. free gives back what they hold.
	Options func() (opts []grpc.DialOption, free func())
}

// Tuning is what every contender that can is set to, besides its defaults, so
// that they differ in nothing but what they do with it.
type Tuning struct {
	Attempts       int           // the first included
	Base, Max      time.Duration // of a backoff that doubles
	AttemptTimeout time.Duration // 0: none
}

func (t Tuning) String() string {
	s := fmt.Sprintf("%d attempts, backoff %v doubling to %v", t.Attempts, t.Base, t.Max)
	if t.AttemptTimeout > 0 {
		s += fmt.Sprintf(", %v for each attempt", t.AttemptTimeout)
	}
	return s
}

// Field is every contender: the peers at their documented defaults and tuned,
// and ours.
func Field(t Tuning) []Client {
	all := []Client{NoPolicy()}
	all = append(all, AstraClients(t)...)
	all = append(all, grpcGoClients(t)...)
	all = append(all, middlewareClients(t)...)
	all = append(all, failsafeClients(t)...)
	all = append(all, gobreakerClients(t)...)
	return append(all, aegisClients(t)...)
}

// NoPolicy is a bare connection.
func NoPolicy() Client {
	return Client{
		Contender: lab.Contender{Name: "no policy", Config: "grpc.WithDisableRetry()", Why: "what everything else is measured by"},
		Baseline:  true,
		Options: func() ([]grpc.DialOption, func()) {
			return []grpc.DialOption{grpc.WithDisableRetry()}, func() {}
		},
	}
}

// chainOf makes a client of interceptors that hold nothing.
func chainOf(c lab.Contender, makeAll func() []grpc.UnaryClientInterceptor) Client {
	return Client{Contender: c, Options: func() ([]grpc.DialOption, func()) {
		return []grpc.DialOption{grpc.WithDisableRetry(), grpc.WithChainUnaryInterceptor(makeAll()...)}, func() {}
	}}
}

// refusals are the errors with which breakers refuse calls.
var refusals = []error{
	interceptors.ErrBreakerOpen,
	gobreaker.ErrOpenState, gobreaker.ErrTooManyRequests,
	circuitbreaker.ErrOpen,
	aegis.ErrNotAllowed,
}

// Refused reports whether a breaker refused the call that got err.
func Refused(err error) bool {
	for _, refusal := range refusals {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
