// Package inside is what programs of this module see of package interceptors that
// its users do not: the command and the simulator look into policies, and no API
// is to be made for that.
package inside

import (
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
)

// Package interceptors sets these when it is linked in.
var (
	// PolicyOf makes what calls use of an interceptors.Policy. idempotent is
	// whether the method is declared so; named, whether a pattern names it exactly.
	PolicyOf func(policy any, idempotent, named bool) *engine.Policy
	// Complete returns an interceptors.Policy with its defaults filled in.
	Complete func(policy any) any
	// BalancingOf makes what backends are chosen by of an interceptors.Balancing.
	BalancingOf func(balancing any) fleet.Config
)
