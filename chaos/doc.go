// Package chaos injects faults into the attempts of a client, to test a suite's
// policies in staging: latency, status errors, connections that are refused or
// lost, hangs, corrupt replies.
//
//	c, err := chaos.New(chaos.WithConsent())
//	…
//	conn, err := grpc.NewClient(target, append(suite.DialOptions(), c.DialOptions()...)...)
//	…
//	err = c.Start(chaos.Plan{For: 10 * time.Minute, Seed: 7, Faults: []chaos.Fault{
//		{Method: "/search.Search/*", Kind: chaos.Status, Share: 0.1, Code: codes.Unavailable},
//		{Method: "*", Kind: chaos.Latency, Share: 0.5, Latency: 100 * time.Millisecond},
//	}})
//	…
//	c.Stop()
//
// The options must come after the suite's: faults then occur beneath retries
// and hedges, in each attempt, as the network's do.
//
// # Consent
//
// Without [WithConsent] nothing is ever injected: Start fails, DialOptions are
// none, and a policy file that has a chaos object is refused. Whether a program
// passes it must depend on where it runs, on a flag set in staging, say, not on
// the policy file.
//
// # When it ends
//
// A plan has a window of at most a day, and stops by itself at its end.
// [Injector.Stop] stops it at once: attempts that are kept waiting continue.
//
// # In a policy file
//
// config.Watch starts and stops plans with the file, if it is given the injector
// by config.WithChaos:
//
//	chaos:
//	  for: 10m
//	  seed: 7
//	  faults:
//	  - {method: /search.Search/*, kind: status, share: 0.1, code: UNAVAILABLE}
//	  - {method: "*", kind: latency, share: 0.5, latency: 100ms}
//
// A plan that a reload does not change continues in its window, and one that
// was stopped stays stopped. A restart of the program begins the window again,
// unless the plan has a start.
//
// # What is seen of it
//
// The beginning, the first injection of each fault, and the end with all counts
// are logged at level Warn. [Injector.Injected] returns counts, which
// metrics.NewChaos exports; [WithHook] reports each injection. Messages of
// injected errors begin with "chaos:", unless the plan has others.
package chaos
