package interceptors_test

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/astra-grpc/astra/interceptors"
)

// exiting is a codec that, asked for another copy than the first, ends its
// goroutine.
type exiting struct {
	encoding.CodecV2
	copies *atomic.Int32
}

func (c exiting) Marshal(any) (mem.BufferSlice, error) {
	if c.copies.Add(1) > 1 {
		runtime.Goexit()
	}
	return nil, nil
}
func (exiting) Unmarshal(mem.BufferSlice, any) error { return nil }
func (exiting) Name() string                         { return "exiting" }

// TestGoexitWhereAHedgeStarts is no answer: it ends the caller's goroutine, as
// it would if no other ran the race.
func TestGoexitWhereAHedgeStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		var ended atomic.Bool
		go func() {
			defer func() { ended.Store(recover() == nil) }()
			type plain struct{ Name string }
			err := s.UnaryClientInterceptor()(t.Context(), method, new(plain), new(plain), nil, play(step{hang: true}).invoke,
				grpc.ForceCodecV2(exiting{copies: new(atomic.Int32)}))
			t.Errorf("answered %v", err)
		}()
		time.Sleep(time.Second)
		if !ended.Load() {
			t.Error("Goexit did not end the caller's goroutine")
		}
	})
}
