// Package inside lets programs of this module look into policies, as no API does.
package inside

import "github.com/astra-grpc/astra/internal/engine"

// PolicyOf makes what calls use of an interceptors.Policy. Method is its name, or
// "" for any; idempotent, whether it is declared so; named, whether a pattern
// names it exactly.
//
// Complete returns an interceptors.Policy with its defaults filled in.
//
// Package interceptors sets them, for programs of this module that look into
// policies; its users do not see them.
var (
	PolicyOf func(policy any, idempotent, named bool) *engine.Policy
	Complete func(policy any) any
)
