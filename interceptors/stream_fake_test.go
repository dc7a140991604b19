package interceptors_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// note is the message. The caller uses one again and again, as callers do.
type note struct{ text string }

// noteCodec counts the buffers that are out, and spoils those that come back.
type noteCodec struct{ out atomic.Int64 }

func (c *noteCodec) Get(n int) *[]byte {
	c.out.Add(1)
	b := make([]byte, n, n+4096) // small ones are not given back
	return &b
}

func (c *noteCodec) Put(b *[]byte) {
	c.out.Add(-1)
	for i := range *b {
		(*b)[i] = '!'
	}
}

func (c *noteCodec) Marshal(v any) (mem.BufferSlice, error) {
	n := v.(*note)
	if n.text == unencoded {
		return nil, status.Error(codes.Internal, unencoded)
	}
	b := c.Get(len(n.text))
	copy(*b, n.text)
	return mem.BufferSlice{mem.NewBuffer(b, c)}, nil
}

func (c *noteCodec) Unmarshal(data mem.BufferSlice, v any) error {
	v.(*note).text = string(data.Materialize())
	return nil
}

func (c *noteCodec) Name() string { return "note" }

// fake is an inner stream, and its server, as grpc-go documents them.
type fake struct {
	run   *run
	n     int
	ctx   context.Context
	codec encoding.CodecV2

	mu       sync.Mutex
	changed  *sync.Cond
	sent     []string // and accepted
	read     int      // of these, by the server
	closed   bool
	queue    []string // replies that wait to be received
	replied  int
	headers  bool
	trailer  metadata.MD
	refused  bool // there was no stream
	dead     bool
	cut      bool  // dead by the context's end
	err      error // what it died of
	released bool  // the client has seen the end

	sending, receiving atomic.Int32
}

// alone sees that one goroutine at a time does it.
func (f *fake) alone(n *atomic.Int32, what string) func() {
	if n.Add(1) != 1 {
		f.run.fault("attempt %d: %s while another goroutine is at it", f.n, what)
	}
	return func() { n.Add(-1) }
}

// die is called with mu held.
func (f *fake) die(err error, cut bool) {
	if !f.dead {
		f.dead, f.err, f.cut = true, err, cut
	}
	f.changed.Broadcast()
}

func (f *fake) SendMsg(m any) error {
	defer f.alone(&f.sending, "SendMsg")()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed && !f.dead {
		f.run.fault("attempt %d: SendMsg after CloseSend", f.n)
	}
	data, err := f.codec.Marshal(m)
	if err != nil {
		f.die(err, false)
		f.released = true
		return err
	}
	text := string(data.Materialize())
	data.Free()
	if text != m.(*note).text {
		f.run.fault("attempt %d: %q is sent of a message that says %q", f.n, text, m.(*note).text)
	}
	for !f.dead && len(f.sent)-f.read >= f.run.window {
		f.changed.Wait()
	}
	switch {
	case f.dead && f.run.client:
		return io.EOF
	case f.dead:
		return nil // so grpc-go
	}
	f.sent = append(f.sent, text)
	f.closed = !f.run.client
	f.changed.Broadcast()
	return nil
}

func (f *fake) CloseSend() error {
	defer f.alone(&f.sending, "CloseSend")()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = f.closed || !f.dead
	f.changed.Broadcast()
	return nil
}

func (f *fake) RecvMsg(m any) error {
	defer f.alone(&f.receiving, "RecvMsg")()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.dead {
		f.changed.Wait()
	}
	if len(f.queue) > 0 && !f.cut {
		if _, ok := m.(*note); !ok {
			f.run.fault("attempt %d: a message was eaten by a %T", f.n, m)
		} else if err := f.codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(f.queue[0])}, m); err != nil {
			f.run.fault("attempt %d: %v", f.n, err)
		}
		f.queue = f.queue[1:]
		f.changed.Broadcast()
		if f.run.server {
			return nil
		}
		for !f.dead {
			f.changed.Wait()
		}
		f.released = true
		return f.err
	}
	f.released = true
	switch {
	case f.err != nil:
		return f.err
	case !f.run.server && f.replied == 0:
		return status.Error(codes.Internal, "cardinality violation")
	}
	return io.EOF
}

func (f *fake) Header() (metadata.MD, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.headers && !f.dead {
		f.changed.Wait()
	}
	if !f.headers {
		f.released = true
		return nil, nil
	}
	return metadata.Pairs("attempt", fmt.Sprint(f.n)), nil
}

func (f *fake) Trailer() metadata.MD {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.dead && f.run.touch == "" {
		f.run.fault("attempt %d: Trailer while it lives", f.n)
	}
	return metadata.Join(f.trailer, metadata.Pairs("attempt", fmt.Sprint(f.n)))
}

func (f *fake) Context() context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	answered := f.headers || f.dead                                            // so that grpc-go allows it; or the call's time is up
	if !answered && f.ctx.Err() == nil && f.run.touch == "" && f.run.bad < 0 { // after a bad one it says whether the stream has ended
		f.run.fault("attempt %d: Context, which nobody asked for", f.n)
	}
	return f.ctx
}

// serve is the server.
func (f *fake) serve(turn []act) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range turn {
		switch a.do {
		case "read":
			for i := 0; i < a.n && f.take(); i++ {
			}
		case "drain":
			for f.take() {
			}
		case "echo":
			for f.take() {
				f.reply()
			}
		case "reply":
			for range a.n {
				f.reply()
			}
		case "header":
			f.headers = f.headers || !f.dead
			f.changed.Broadcast()
		case "nap":
			f.mu.Unlock()
			time.Sleep(time.Duration(a.n) * ms)
			f.mu.Lock()
		case "hang":
			for !f.dead {
				f.changed.Wait()
			}
		case "ok":
			f.die(nil, false)
		default:
			if !f.dead {
				f.trailer = endings[a.do].trailer
			}
			f.die(status.Error(endings[a.do].code, fmt.Sprint("attempt ", f.n)), false)
		}
	}
}

// endings are the failures of an attempt.
var endings = map[string]struct {
	code    codes.Code
	trailer metadata.MD
}{
	"unavailable": {codes.Unavailable, nil},
	"deadline":    {codes.DeadlineExceeded, nil},
	"notfound":    {codes.NotFound, nil},
	"again":       {codes.Unavailable, pushback("0")},
	"stop":        {codes.Unavailable, pushback("-1")},
}

func (f *fake) take() bool {
	for f.read == len(f.sent) && !f.closed && !f.dead {
		f.changed.Wait()
	}
	if f.dead || f.read == len(f.sent) {
		return false
	}
	f.read++
	f.changed.Broadcast()
	return true
}

func (f *fake) reply() {
	for len(f.queue) >= f.run.window && !f.dead {
		f.changed.Wait()
	}
	if f.dead {
		return
	}
	f.queue = append(f.queue, fmt.Sprintf("%d of attempt %d", f.replied, f.n))
	f.replied++
	f.headers = true
	f.changed.Broadcast()
}
