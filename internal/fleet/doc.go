// Package fleet keeps what a suite knows of the backends of its targets: it
// stands between the calls, whose engine says how attempts end, and the
// load-balancing policy, which asks where the next one is to go.
//
// A [Registry] is a suite's; a policy finds it by its ID. A [Fleet] is a
// target's; it is shared by the suite's connections to it, and outlives the
// policies of a connection that was idle. A [Member] is such a policy: a
// connection's view of the fleet. An [Attempt] is the context of an attempt, by
// which policy and engine speak of it.
package fleet
