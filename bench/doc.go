// Package bench measures astra against its peers. It is a module of its own,
// so that the peers are nobody's dependencies but its own.
//
// Overhead, what the interceptors cost a call that needs none of them, and one
// that fails:
//
//	go test -run TestOverhead -v .   the table, and the gates it must pass
//	go test -bench . -cpu 1,2 .      the same as plain benchmarks, to profile
//
// The peers' configurations, and why they are fair, are in package peers.
package bench
