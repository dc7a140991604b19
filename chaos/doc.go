// Package chaos injects faults into the attempts of a client, to see in staging
// what a suite's policies make of them: latency, status errors, connections that
// are refused or lost, hangs, corrupt replies.
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
// The options come after the suite's: faults meet attempts, beneath retries and
// hedges, as the network's do.
//
// # Consent
//
// Without [WithConsent] nothing is ever injected: Start fails, DialOptions are
// none, and a policy file that has a chaos object is refused. The option is to
// depend on where the program runs, on a flag of staging, say, and not on what the
// policy file says.
//
// # When it ends
//
// A plan has a window, at most a day; at its end it stops by itself. [Injector.Stop]
// stops it at once: attempts that are kept waiting go on.
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
// A plan that a reload leaves as it was goes on, its window does not begin anew,
// and one that was stopped stays so. A restart of the program begins it anew
// unless the plan has a start.
//
// # What is seen of it
//
// The beginning, the first injection of each fault, and the end with all counts
// are logged at level Warn. [Injector.Injected] counts; metrics.NewChaos
// makes metrics of that, and [WithHook] reports each injection. Messages of
// injected errors begin with "chaos:", unless the plan has others.
package chaos
