// Package statuspage serves a page on which people see what a suite of package
// interceptors is doing: which breakers are not closed, since when, why, and
// and what happens next; budgets, limits, the last calls that failed or were
// rescued, and why they were not retried; the policies, and where they come
// from.
//
//	http.Handle("/astra/", statuspage.New(suite))
//
// It may be mounted anywhere, with or without http.StripPrefix; its path ends
// in a slash. It loads nothing from other hosts, and can be read without
// scripts; one keeps it current. The same addresses answer with JSON, see
// [interceptors.Snapshot], if the Accept header asks for that, or
// "?format=json" does. With "?format=yaml" they return policies as YAML, ready
// for a policy file.
//
// # Who may see it
//
// Anybody who can reach it. It shows names of targets and methods, status codes
// and the faults of policy files, never payloads, metadata or messages. Serve
// it where /metrics is served, or behind the program's own authentication.
//
// # Actions
//
// A breaker can be forced open or closed, or released, and a backend drained
// and brought back, only if the program passes [WithActions] a function that
// authorises requests. Requests that change something are POSTs of the same
// origin, with a token that the page has; they name a time after which they are
// undone, and are logged and counted (astra_suite_steered_total).
package statuspage
