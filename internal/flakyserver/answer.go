package flakyserver

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// streamReplies is how often a server stream answers by default:
// enough to have a first, a middle and a last.
const streamReplies = 3

// kind is the nature of a method.
type kind struct {
	clientStreams, serverStreams bool
	converts                     bool // its replies are of another type than its requests
}

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
		return kind{md.IsStreamingClient(), md.IsStreamingServer(), md.Input().FullName() != md.Output().FullName()}
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

func (m *method) newAnswerer(step Step) answerer {
	switch {
	case len(step.answers) > 0:
		return scripted(step.answers)
	case strings.HasPrefix(m.name, "/helloworld.Greeter/"):
		return &greeter{kind: m.kind}
	case m.kind.converts:
		return scripted{nil} // the encoding of any empty message
	}
	return &echo{}
}

// scripted answers with these messages in turn, the last again and again.
type scripted []message

func (scripted) take(message) error { return nil }

func (s scripted) next(sent int) (message, error) { return s[min(sent, len(s)-1)], nil }

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
	name, err := firstString(m)
	if err != nil {
		return status.Error(codes.Internal, "flakyserver: "+err.Error())
	}
	if g.kind.serverStreams {
		g.names = g.names[:0] // each is greeted alone
	}
	g.names = append(g.names, name)
	return nil
}

func (g *greeter) next(sent int) (message, error) {
	text := "Hello " + strings.Join(g.names, ", ")
	if g.kind.serverStreams && !g.kind.clientStreams {
		text = fmt.Sprintf("%s #%d", text, sent+1)
	}
	return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), text), nil
}

// firstString returns the first field of a HelloRequest, the name. The greeter's
// generated code is not used: whoever links another copy of that .proto could
// not link this package.
func firstString(m message) (value string, err error) {
	for b := []byte(m); len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		b = b[n:]
		if number == 1 && kind == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return "", protowire.ParseError(n)
			}
			value, b = string(v), b[n:]
			continue
		}
		n = protowire.ConsumeFieldValue(number, kind, b)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		b = b[n:]
	}
	return value, nil
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
