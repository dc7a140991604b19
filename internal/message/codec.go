// Package message keeps, copies and encodes the messages of calls: what a
// stream sends again, what attempts side by side are given, and what becomes of
// a reply between attempts. It knows messages and codecs, and nothing of calls.
package message

import (
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// CodecOf returns the codec that grpc-go would use for a call with these
// options, and the name by which it would announce it to the server. nil: there
// is none.
func CodecOf(opts []grpc.CallOption) (base encoding.CodecV2, name string) {
	subtype := ""
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.ForceCodecV2CallOption:
			base, name = o.CodecV2, o.CodecV2.Name()
		case *grpc.ForceCodecV2CallOption: // as a suite above gives it
			base, name = o.CodecV2, o.CodecV2.Name()
		case grpc.ForceCodecCallOption:
			base, name = codecV1{o.Codec}, o.Codec.Name()
		case grpc.CustomCodecCallOption:
			base, name = codecV0{o.Codec}, ""
		case grpc.ContentSubtypeCallOption:
			subtype = o.ContentSubtype
		}
	}
	switch {
	case base != nil:
		return base, name
	case subtype == "":
		return registered(proto.Name), ""
	}
	return registered(strings.ToLower(subtype)), ""
}

func registered(name string) encoding.CodecV2 {
	if c := encoding.GetCodec(name); c != nil {
		return codecV1{c}
	}
	return encoding.GetCodecV2(name)
}

// codecV1 makes a codec of the first interface one of the second.
type codecV1 struct{ encoding.Codec }

func (c codecV1) Marshal(v any) (mem.BufferSlice, error) {
	data, err := c.Codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (c codecV1) Unmarshal(data mem.BufferSlice, v any) error {
	return c.Codec.Unmarshal(data.Materialize(), v)
}

// codecV0 does the same for the oldest interface.
type codecV0 struct{ grpc.Codec }

func (c codecV0) Marshal(v any) (mem.BufferSlice, error) {
	data, err := c.Codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (c codecV0) Unmarshal(data mem.BufferSlice, v any) error {
	return c.Codec.Unmarshal(data.Materialize(), v)
}

func (c codecV0) Name() string { return "" }
