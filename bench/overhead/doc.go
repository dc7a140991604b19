// Package overhead measures what the interceptors cost a call that needs none
// of them, one that fails, and a stream. The bench program reports it; the test
// holds it to its promises:
//
//	go test -run TestOverhead -v ./overhead   the table, and the gates
//	go test -bench . -cpu 1,2 ./overhead      plain benchmarks, to profile
//
// The peers' configurations, and why they are fair, are in package peers.
package overhead
