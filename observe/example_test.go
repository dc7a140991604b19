package observe_test

import (
	"context"
	"fmt"

	"github.com/astra-grpc/astra/observe"
)

// backoffs counts the backoffs of each method.
type backoffs map[string]int

func (b backoffs) Observe(e observe.Endpoint) observe.Hooks {
	return observe.Hooks{Event: func(_ context.Context, got observe.Event) {
		if got.Kind == observe.BackoffStart {
			b[e.Method()]++
		}
	}}
}

// method is an endpoint without a suite.
type method struct {
	observe.Source // for what is not needed here
	name           string
}

func (m method) Method() string { return m.name }

// An observer can be tested without a suite.
func ExampleNewEndpoint() {
	b := backoffs{}
	hooks := b.Observe(observe.NewEndpoint(method{name: "/pkg.Service/Method"}))
	hooks.Event(context.Background(), observe.Event{Kind: observe.BackoffStart, Attempt: 1})
	fmt.Println(b)
	// Output: map[/pkg.Service/Method:1]
}
