// Package sim runs policies through faults in virtual time: the shipped engine
// (package engine) decides as it does in a program, and only attempts, clock and
// chance are made up. A minute of calls takes milliseconds, and a run with the
// same seed is the same run.
//
// A [Loop] is the virtual time, a backend workers behind a queue, a [Client] what a
// suite is for one method of one target. [Run] takes a [Setup] through its faults and
// returns what callers and servers saw; a [Scenario] makes a setup of a [World]. Where
// balancing is on, package fleet chooses backends as it does in a program.
//
// What is not simulated: connections (an attempt reaches its backend at once, and
// a backend that is down answers UNAVAILABLE), streams, sizes, and the time that
// clients themselves take.
package sim
