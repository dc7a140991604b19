// Package astratest tests what policies do to calls: "my ledger is never called
// twice", "my search survives one bad backend of three", "my policy file
// recovers from 5 s of outage within a second".
//
// # A policy against a ready scenario
//
// [Run] plays a [Scenario] in virtual time, in milliseconds, with real gRPC in
// memory, and returns the result of every call and every attempt:
//
//	func TestLedgerIsNeverCalledTwice(t *testing.T) {
//		opts, err := config.Load("policy.yaml")
//		if err != nil {
//			t.Fatal(err)
//		}
//		r := astratest.Run(t, astratest.LostReplies("/bank.Ledger/Transfer", 0.2), opts...)
//		if twice := r.Repeated(); len(twice) > 0 {
//			t.Errorf("%d transfers were sent again after they may have run\n%v", len(twice), r)
//		}
//	}
//
// [Bare] plays it without a suite, for comparison. The package examples/testing
// has more tests of this kind.
//
// # A scripted server
//
// [Start] serves in memory, [StartTCP] on a port of the loopback interface,
// [StartBackends] as several backends of one target. They serve every method of
// every service, without generated code, and treat each attempt as its script
// says:
//
//	s := astratest.Start(t)
//	s.Script("/search.Search/Find",
//		astratest.Fail(codes.Unavailable, "restarting").Pushback(50*time.Millisecond),
//		astratest.OK().Reply(&searchpb.Result{}))
//	conn := s.Dial(suite.DialOptions()...)
//	…
//	astratest.WantAttempts(t, s.Attempts("/search.Search/Find"), 2)
//
// A method that a .proto linked into the test describes is served as the kind
// of call that it is, and answers with an empty message. Other methods echo
// each message and end when the client has closed its side. [Step.Reply]
// scripts answers.
//
// # Virtual time
//
// Servers made by Start and StartBackends in a bubble of testing/synctest do no
// I/O, so that waits take no time and schedules are exact. All that a server
// starts has ended when its test has: goleak finds nothing.
//
// # What a suite did
//
// A [Recorder] is an observer: the breaker's state, its changes, and how each
// call ended and why.
package astratest
