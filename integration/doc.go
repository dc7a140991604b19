// Package integration measures Astra's first promise, no harm, with clients that
// others wrote: each is used bare and with the suite's defaults, side by side in
// one process, against the same faults. A row of the table in docs/no-harm.md in
// which callers fare worse with the suite than without it fails its test.
//
//	go -C integration test ./...                      short form, about a minute
//	go -C integration test -v ./...                   … and print the tables
//	go -C integration test ./... -long -timeout 30m   long form
//	go -C integration test ./... -long -update-docs   … and write docs/no-harm.md
//
// The folders hold tests alone, one for each client; package lab is what they
// share. The module is nested so that these clients are nobody's dependencies.
package integration
