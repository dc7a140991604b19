package flakyserver

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

// streamReplies is how often a server stream answers that is told nothing else:
// enough to have a first, a middle and a last.
const streamReplies = 3

// kind is the nature of a method.
type kind struct{ clientStreams, serverStreams bool }

func (k kind) replies() int {
	if k.serverStreams {
		return streamReplies
	}
	return 1
}

// kindOf looks in the linked-in .protos. A method that none describes passes
// for bidirectional: one echo a message also suits calls with one message.
func kindOf(method string) kind {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if md, ok := d.(protoreflect.MethodDescriptor); ok && err == nil {
		return kind{md.IsStreamingClient(), md.IsStreamingServer()}
	}
	return kind{clientStreams: true, serverStreams: true}
}

// message is the encoded form of any message.
type message []byte

// answerer makes one attempt's replies from its requests.
type answerer interface {
	take(request message) error
	next(sent int) (message, error)
}

func (m *method) newAnswerer() answerer {
	if strings.HasPrefix(m.name, "/"+greeterpb.Greeter_ServiceDesc.ServiceName+"/") {
		return &greeter{kind: m.kind}
	}
	return &echo{}
}

type echo struct{ last message }

func (e *echo) take(m message) error {
	e.last = m
	return nil
}

func (e *echo) next(int) (message, error) { return e.last, nil }

type greeter struct {
	kind  kind
	names []string
}

func (g *greeter) take(m message) error {
	var in greeterpb.HelloRequest
	if err := proto.Unmarshal(m, &in); err != nil {
		return status.Error(codes.Internal, "flakyserver: "+err.Error())
	}
	if g.kind.serverStreams {
		g.names = g.names[:0] // each is greeted alone
	}
	g.names = append(g.names, in.GetName())
	return nil
}

func (g *greeter) next(sent int) (message, error) {
	text := "Hello " + strings.Join(g.names, ", ")
	if g.kind.serverStreams && !g.kind.clientStreams {
		text = fmt.Sprintf("%s #%d", text, sent+1)
	}
	return proto.Marshal(&greeterpb.HelloReply{Message: text})
}

// rawCodec passes encoded messages through.
type rawCodec struct{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*message))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*message) = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "flakyserver-raw" }
