package fleet

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/astra-grpc/astra/internal/text"
)

// Policy is the name of the load-balancing policy in service configs.
const Policy = "astra_balancing"

var linked atomic.Bool

// Linked is called by the policy's package, if that is part of the program.
func Linked() { linked.Store(true) }

// IsLinked reports whether it is.
func IsLinked() bool { return linked.Load() }

// NewEndpoint returns the endpoint with these addresses. They make one, in
// whatever order.
func NewEndpoint(addresses []string) Endpoint {
	if len(addresses) == 1 {
		return Endpoint{Key: addresses[0], Name: text.Name(addresses[0])}
	}
	if len(addresses) == 0 {
		return Endpoint{}
	}
	sorted := slices.Sorted(slices.Values(addresses))
	return Endpoint{Key: strings.Join(sorted, " "), Name: text.Name(addresses[0])}
}
