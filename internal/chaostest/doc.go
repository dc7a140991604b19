// Package chaostest lets a suite and bare gRPC make the same calls to real server
// processes through a proxy that spoils the connections, and compares what came of
// them:
//
//	go test ./internal/chaostest                     # each fault once, about 15 s
//	go test ./internal/chaostest -long 20m -timeout 30m -v
//	go test ./internal/chaostest -seed 7 -run 'TestFaults/reset'
//
// After each fault the books of both sides must agree, every call must have ended
// once and in time, nothing may be left (goroutines, descriptors, permits, replay
// bytes), and callers of the suite must be no worse off than those without.
//
// The proxy is our own, of a few hundred lines: toxiproxy brings an HTTP API,
// a logger and a metrics library, takes its faults on at the next chunk only, and
// has no half-open connections that heal with nothing lost, as TCP's do.
package chaostest
