// Package greeterpb is the Greeter service that examples, tests and
// benchmarks call: one method of each kind of call.
//
// The code is generated from helloworld.proto. To generate it again, install
// protoc and the plugins of these versions, so that a diff shows changes of
// the .proto only, and run go generate here:
//
//	protoc 3.21.12 (Debian's protobuf-compiler)
//	go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
//	go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
package greeterpb

// The path from the repository's root names the file in the registry of
// protobuf files, where a bare helloworld.proto would meet others of that name.
//go:generate protoc -I ../../.. --go_out=../../.. --go_opt=paths=source_relative --go-grpc_out=../../.. --go-grpc_opt=paths=source_relative examples/greeter/greeterpb/helloworld.proto
