package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

const (
	sayHelloServerStream = greeterpb.Greeter_SayHelloServerStream_FullMethodName
	sayHelloClientStream = greeterpb.Greeter_SayHelloClientStream_FullMethodName
)

// resumeGreetings is an [interceptors.Resume]: after "Hello Ada #2" it asks for
// "Ada@2", the greetings that follow the second.
func resumeGreetings(_ context.Context, sent, last any) (any, bool) {
	text := last.(*greeterpb.HelloReply).GetMessage()
	n, err := strconv.Atoi(text[strings.LastIndexByte(text, '#')+1:])
	if err != nil {
		return nil, false // not numbered: who knows where to go on
	}
	name := sent.(*greeterpb.HelloRequest).GetName()
	return &greeterpb.HelloRequest{Name: fmt.Sprintf("%s@%d", name, n)}, true
}

// offsets is an interceptor inside the suite that does what is better done by
// a server, but not by this Greeter, which always begins with the first
// greeting: of "Ada@2" it asks for Ada, and leaves out two.
func offsets(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, cc, method, opts...)
	if err != nil || method != sayHelloServerStream {
		return stream, err
	}
	return &offsetStream{ClientStream: stream}, nil
}

type offsetStream struct {
	grpc.ClientStream
	skip int // set before the first RecvMsg, if there is an offset
}

// SendMsg is given the one request of a server stream. What has no offset
// passes untouched: the suite may send it while it receives already.
func (s *offsetStream) SendMsg(m any) error {
	name, offset, found := strings.Cut(m.(*greeterpb.HelloRequest).GetName(), "@")
	if n, err := strconv.Atoi(offset); found && err == nil {
		s.skip = n
		m = &greeterpb.HelloRequest{Name: name}
	}
	return s.ClientStream.SendMsg(m)
}

func (s *offsetStream) RecvMsg(m any) error {
	for ; s.skip > 0; s.skip-- {
		if err := s.ClientStream.RecvMsg(m); err != nil {
			return err
		}
	}
	return s.ClientStream.RecvMsg(m)
}
