// Package peers configures the contenders of the benchmarks, astra among them:
// one file each, with the reason for its configuration. The rule is that
// nobody is handicapped: interceptors are built once, defaults are kept where
// they do something, and where several configurations are defensible the
// cheapest counts.
//
// Every breaker here is one for all methods, so the peers look up nothing;
// astra keeps one for each target and method, and does.
package peers
