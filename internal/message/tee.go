package message

import (
	"reflect"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
)

// Tee is the codec of one attempt of a stream. It encodes as the stream's own
// codec does. While a message of the caller's is being sent, it sees what
// becomes of that beneath: if the message itself is what is encoded, and all
// that is, its encoding is what it was when it was sent. An interceptor beneath
// may send something else instead, or several messages, or nothing yet.
type Tee struct {
	Base encoding.CodecV2 // nil: grpc-go's business
	name string

	watching atomic.Bool
	mu       sync.Mutex // guards what follows: an interceptor beneath may send from a goroutine of its own
	message  any        // that is being sent
	known    bool       // its encoding is …
	encoding mem.BufferSlice
	passed   mem.BufferSlice // its encoding, with a reference of ours
	seen     int             // messages encoded meanwhile
	own      bool            // passed is set
}

// Use makes the tee stand for the codec of a call with these options, and
// reports whether there is one.
func (c *Tee) Use(opts []grpc.CallOption) bool {
	c.Base, c.name = CodecOf(opts)
	return c.Base != nil
}

// Send sends m and returns its encoding, with a reference for the caller, if m
// itself is what was encoded. One goroutine at a time may send.
func (c *Tee) Send(m any, send func(any) error) (encoded mem.BufferSlice, own bool, err error) {
	returned := false
	c.watch(m, false, nil)
	defer func() {
		encoded, own = c.unwatch()
		if own && !returned {
			encoded.Free()
		}
	}()
	err = send(m)
	returned = true
	return encoded, own, err // as the deferred function has them
}

// Resend sends m, which is encoded as it was before.
func (c *Tee) Resend(m any, encoded mem.BufferSlice, send func(any) error) error {
	c.watch(m, true, encoded)
	defer c.unwatch()
	return send(m)
}

func (c *Tee) watch(m any, known bool, encoded mem.BufferSlice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message, c.known, c.encoding, c.seen = m, known, encoded, 0
	c.watching.Store(true)
}

func (c *Tee) unwatch() (passed mem.BufferSlice, own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching.Store(false)
	passed, own = c.passed, c.own
	c.message, c.encoding, c.passed, c.known, c.own = nil, nil, nil, false, false
	return passed, own
}

// Marshal implements encoding.CodecV2.
func (c *Tee) Marshal(v any) (mem.BufferSlice, error) {
	if !c.watching.Load() {
		return c.Base.Marshal(v)
	}
	if data, ok := c.lookUp(v); ok {
		return data, nil
	}
	data, err := c.Base.Marshal(v)
	if err == nil {
		c.note(v, data)
	}
	return data, err
}

func (c *Tee) lookUp(v any) (mem.BufferSlice, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || !identical(c.message, v) {
		return nil, false
	}
	c.encoding.Ref()
	return c.encoding, true
}

func (c *Tee) note(v any, data mem.BufferSlice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.watching.Load() || c.known {
		return
	}
	c.seen++
	switch {
	case c.seen == 1 && identical(c.message, v):
		data.Ref()
		c.passed, c.own = data, true
	case c.own:
		c.passed.Free()
		c.passed, c.own = nil, false
	}
}

// Unmarshal implements encoding.CodecV2.
func (c *Tee) Unmarshal(data mem.BufferSlice, v any) error { return c.Base.Unmarshal(data, v) }

// Name implements encoding.CodecV2. Empty, it leaves the content-type alone.
func (c *Tee) Name() string { return c.name }

// identical reports whether a and b are one message, not just equal ones.
func identical(a, b any) bool {
	t := reflect.TypeOf(a)
	if t == nil || t != reflect.TypeOf(b) {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer:
		return a == b
	case reflect.Slice, reflect.Map:
		va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
		return va.Pointer() == vb.Pointer() && va.Len() == vb.Len()
	}
	return reflect.ValueOf(a).Comparable() && a == b
}
