// Package statuspage serves a page on which people see what a suite of package
// interceptors is doing: which breakers are not closed, since when, why, and what
// happens next; budgets, limits, the last calls that went wrong and why they were
// not retried; the policies, and where they come from.
//
//	http.Handle("/astra/", statuspage.New(suite))
//
// It may be mounted anywhere, with or without http.StripPrefix; its path ends
// in a slash. It needs nothing from elsewhere, and nothing at all but the
// suite: no script is needed to read it, one keeps it current. The same
// addresses answer with JSON, see [interceptors.Snapshot], if the Accept header
// asks for that, or "?format=json" does; policies as YAML, ready for a policy
// file, for "?format=yaml".
//
// # Who may see it
//
// Anybody who can reach it: names of targets and methods, status codes and the
// texts of faulty policy files are on it, payloads, metadata and messages never.
// Serve it where /metrics is served, or behind the program's own authentication.
//
// # Actions
//
// A breaker can be held open or closed, or be let probe, and a backend be
// drained and brought back, only if the program passes [WithActions] a function
// that says who may. Requests that change something are POSTs of the same
// origin, with a token that the page has; they name a time after which they are
// undone, are logged, and counted (astra_suite_steered_total).
package statuspage
