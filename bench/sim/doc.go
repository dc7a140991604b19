// Package sim has the bench's simulated scenarios. Clients and servers live in
// virtual time, are driven by one goroutine and drawn from seeds, so that a
// minute costs milliseconds and the same seed gives the same result. What
// decides in them is the code that ships: jitter, the retry loop, the budget and
// the breaker are the real cores, which take time and chance as arguments.
//
// Peers are simulated too, by rules told in their documentation and read in
// their source: how a breaker opens, what a budget pays for. The rules are
// small, and each is here in one piece, so that it can be checked.
//
// A model shows how policies differ, not how fast a machine is. The real
// scenarios beside this package show that the models are not far off.
package sim
