// Package backend decides which of a target's backends an attempt goes to: what
// order they are chosen in, how many may be believed out, and what each costs
// under "power of two choices".
//
// It knows neither clock nor gRPC, and keeps no set of backends: who has one
// asks for a choice among n, by number. [Meter] is what is measured of one
// backend; it is safe for concurrent use.
package backend
