// Package breaker decides when calls to one method of one target are to be
// refused for a while.
//
// [Machine] is the state machine: single-threaded, without clock or chance of
// its own; time and a random number come in as arguments, so a simulation and
// a live client run the same code. [Guard] makes one safe for concurrent use
// and keeps the healthy path free of locks. Time is a Duration since an epoch
// of the caller's choice, the same for all calls on one machine.
package breaker
