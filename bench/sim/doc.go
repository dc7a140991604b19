// Package sim has the bench's simulated scenarios. Clients and servers live in
// virtual time, are driven by one goroutine and drawn from seeds, so that a
// minute costs milliseconds and the same seed gives the same result. What
// decides in our clients is the code that ships, the engine with all its cores,
// which internal/sim drives.
//
// Peers are simulated by rules that their documentation states and their source
// shows: how a breaker opens, what a budget pays for. The rules are small, and
// each is here in one piece, so that it can be checked.
//
// A model shows how policies differ, not how fast a machine is. The real
// scenarios beside this package show that the models are not far off.
package sim
