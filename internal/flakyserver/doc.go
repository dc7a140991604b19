// Package flakyserver is a gRPC server that misbehaves by script: tests,
// examples and benchmarks script what each attempt meets and read afterwards
// what the server saw.
//
//	s, err := flakyserver.Start()            // TCP; StartBuffer: in memory
//	defer s.Close()
//	s.Script("/helloworld.Greeter/SayHello",
//		flakyserver.Fail(codes.Unavailable, "x").Pushback("50"),
//		flakyserver.Reset(),
//		flakyserver.OK())
//	cc, err := s.Dial(suite.DialOptions()...)
//	...
//	s.Stats("/helloworld.Greeter/SayHello").Attempts
//
// # Which step an attempt gets
//
// The first of these that has one: SetDown; an Outage that is on; what is
// left of the method's Script; the method's Always or Random; the same of Any;
// OK. The choice is made when the attempt arrives and stays.
//
// # What is served
//
// Every method, whatever its name. One that a linked-in .proto describes is
// served as the kind of call it is; any other echoes each message it gets, and
// ends when the client has closed its side, which suits all calls but client
// streams. helloworld.Greeter greets: "Hello NAME"; a server stream three
// times, as "Hello NAME #1" and so on; a client stream everyone named in one
// reply, "Hello A, B". Other described methods echo the last request's bytes, or
// answer with an empty message if replies are of another type than requests.
// Step.Reply scripts what is answered.
//
// # Under testing/synctest
//
// A server made by StartBuffer inside a bubble does no I/O and waits on
// timers, channels and condition variables only, so that hours pass at once.
package flakyserver
