package interceptors

import (
	"reflect"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// teeCodec is the codec of one attempt of a stream. It encodes as the stream's
// own codec does and remembers the last encoding, so that it need not be made
// again for a replay, and is what the message was when it was sent. An
// interceptor beneath sees messages of the caller's types all the while: on a
// replay an equal copy, whose encoding the codec is told beforehand.
//
// Messages are encoded by one goroutine at a time, that of the sender or the
// replay. Nothing else is shared with decoding.
type teeCodec struct {
	base encoding.CodecV2
	name string

	known   any             // the next message, if its encoding is known: …
	encoded mem.BufferSlice // … this
	passed  mem.BufferSlice // what was encoded last, with a reference of ours
	has     bool            // passed is set
	off     atomic.Bool     // the stream is committed: remember nothing sent

	// For a stream that can be resumed; the receiver's.
	listens  bool            // remember what is received too
	received mem.BufferSlice // what was decoded last, with a reference of ours
}

// Marshal implements encoding.CodecV2.
func (c *teeCodec) Marshal(v any) (mem.BufferSlice, error) {
	if c.off.Load() {
		return c.base.Marshal(v)
	}
	c.drop()
	if same(c.known, v) {
		c.encoded.Ref()
		return c.encoded, nil
	}
	data, err := c.base.Marshal(v)
	if err != nil {
		return nil, err
	}
	data.Ref()
	c.passed, c.has = data, true
	return data, nil
}

// same reports whether v is the message told of. A message that is no pointer,
// bytes say, is taken to be.
func same(known, v any) bool {
	t := reflect.TypeOf(known)
	return t != nil && t == reflect.TypeOf(v) && (t.Kind() != reflect.Pointer || known == v)
}

// copyOf returns a message equal to what the encoding was made from: of its
// type, and nobody else's. A type that is no pointer cannot be decoded into.
func (c *teeCodec) copyOf(v any, encoded mem.BufferSlice) (any, error) {
	t := reflect.TypeOf(v)
	if t.Kind() != reflect.Pointer {
		return v, nil
	}
	m := reflect.New(t.Elem()).Interface()
	return m, c.base.Unmarshal(encoded, m)
}

// Unmarshal implements encoding.CodecV2.
func (c *teeCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if c.listens {
		c.received.Free()
		data.Ref()
		c.received = data
	}
	return c.base.Unmarshal(data, v)
}

// takeReceived hands over what was decoded last.
func (c *teeCodec) takeReceived() (data mem.BufferSlice, ok bool) {
	data, c.received = c.received, nil
	return data, data != nil
}

// Name implements encoding.CodecV2. Empty, it leaves the content-type alone.
func (c *teeCodec) Name() string { return c.name }

// take hands over the last encoding; ok is false if none was made since.
func (c *teeCodec) take() (data mem.BufferSlice, ok bool) {
	data, ok = c.passed, c.has
	c.passed, c.has = nil, false
	return data, ok
}

func (c *teeCodec) drop() {
	if data, ok := c.take(); ok {
		data.Free()
	}
}

// codecOf returns the codec that grpc-go would use for a call with these
// options, and the name by which it would tell the server. nil: there is none.
func codecOf(opts []grpc.CallOption) (base encoding.CodecV2, name string) {
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
