package flakyserver

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestReset(t *testing.T) {
	over(t, func(r *rig) {
		bidi := must(r.client.SayHelloBidi(r.ctx))(t)
		wantCode(t, bidi.Send(request("Ann")), codes.OK)
		must(bidi.Recv())(t)

		r.Script(helloServer, Reset())
		stream := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
		_, err := stream.Recv()
		wantCode(t, err, codes.Unavailable)
		if md, _ := stream.Header(); md != nil {
			t.Errorf("headers came: %v", md)
		}
		resets := 1
		// Under load the client may read the end of the connection that it has
		// closed itself meanwhile: one reset of some is seen as such.
		for r.isTCP() && !strings.Contains(err.Error(), "reset by peer") {
			if resets++; resets > 5 {
				t.Fatalf("no RST: %v", err)
			}
			r.wantSay(codes.OK) // connected again
			r.Script(helloServer, Reset())
			stream = must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
			_, err = stream.Recv()
		}
		if len(stream.Trailer()) > 0 {
			t.Errorf("trailers came: %v", stream.Trailer())
		}
		_, err = bidi.Recv()
		wantCode(t, err, codes.Unavailable) // it was on the same connection
		r.wantSay(codes.OK)                 // this is on a new one
		want(t, "resets", r.Stats(helloServer).Resets, int64(resets))
		want(t, "logged", last(r, helloServer).Reset, true)
	})
}

// What the step sends before the reset is delivered, always.
func TestResetAfterHeadersAndReplies(t *testing.T) {
	over(t, func(r *rig) {
		r.Always(helloServer, Reset().AfterReplies(2))
		r.Always(helloBidi, Reset().Header("a", "1"))
		for range 50 {
			stream := must(r.client.SayHelloServerStream(r.ctx, request(strings.Repeat("x", 50_000))))(t)
			n, err := drain(stream)
			want(t, "replies", n, 2)
			wantCode(t, err, codes.Unavailable)

			bidi := must(r.client.SayHelloBidi(r.ctx))(t)
			_, err = bidi.Recv()
			wantCode(t, err, codes.Unavailable)
			if md, _ := bidi.Header(); len(md.Get("a")) != 1 {
				t.Errorf("headers: %v", md)
			}
		}
	})
}

func TestGoAway(t *testing.T) {
	over(t, func(r *rig) {
		bidi := must(r.client.SayHelloBidi(r.ctx))(t)
		wantCode(t, bidi.Send(request("Ann")), codes.OK)
		must(bidi.Recv())(t)
		want(t, "connections", r.connections(), 1)

		r.Script(hello, GoAway(), OK())
		r.wantSay(codes.OK)
		r.wantSay(codes.OK)
		want(t, "connections", r.connections(), 2)

		// The stream on the old connection goes on to its own end.
		wantCode(t, bidi.Send(request("Bob")), codes.OK)
		want(t, "reply", must(bidi.Recv())(t).GetMessage(), "Hello Bob")
		wantCode(t, bidi.CloseSend(), codes.OK)
		wantEOF(t, bidi)
	})
}

func TestCloseWhileDraining(t *testing.T) {
	over(t, func(r *rig) {
		r.Always(helloBidi, Hang().Header())
		bidi := must(r.client.SayHelloBidi(r.ctx))(t)
		must(bidi.Header())(t)
		r.Script(hello, GoAway())
		r.wantSay(codes.OK)
		r.Close()
		_, err := bidi.Recv()
		wantCode(t, err, codes.Unavailable)
	})
}

// Frames are followed however the writes cut them.
func TestScan(t *testing.T) {
	frame := func(kind http2.FrameType, flags http2.Flags, payload int) []byte {
		b := make([]byte, frameHeaderBytes+payload)
		binary.BigEndian.PutUint32(b, uint32(payload)<<8|uint32(kind))
		b[4] = byte(flags)
		for i := range b[frameHeaderBytes:] {
			b[frameHeaderBytes+i] = byte(http2.FrameGoAway) // to mislead who loses count
		}
		return b
	}
	var wire []byte
	for _, f := range [][]byte{
		frame(http2.FrameSettings, 0, 0),
		frame(http2.FrameHeaders, 0, resetMarkBytes),                                // not trailers
		frame(http2.FrameHeaders, http2.FlagHeadersEndStream, resetMarkBytes-1),     // not the mark
		frame(http2.FrameData, http2.FlagDataEndStream, resetMarkBytes),             // not headers
		frame(http2.FrameHeaders, http2.FlagHeadersEndStream|4, resetMarkBytes+100), // it
	} {
		wire = append(wire, f...)
	}
	mark := len(wire) - frameHeaderBytes - resetMarkBytes - 100
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		c := newConn(nil)
		c.resetting.Store(true)
		for at := 0; ; {
			n := min(1+rng.IntN(3000), len(wire)-at)
			if keep := c.scan(wire[at : at+n]); keep < n {
				// The mark's header may have been begun by the writes before.
				if got := at + keep; got < mark || got >= mark+frameHeaderBytes {
					t.Fatalf("broke at %d, want %d", got, mark)
				}
				break
			}
			if at += n; at == len(wire) {
				t.Fatal("did not break")
			}
		}
		if c.gone {
			t.Fatal("saw a GOAWAY")
		}
		c.headLen, c.payload = 0, 0
		if c.scan(frame(http2.FrameGoAway, 0, 8)); !c.gone {
			t.Fatal("saw no GOAWAY")
		}
	}
	c := newConn(nil)
	want(t, "not armed: written", c.scan(wire), len(wire))
}

func TestCloseEndsEverything(t *testing.T) {
	over(t, func(r *rig) {
		r.Always(hello, Hang())
		failed := make(chan error)
		for range 3 {
			go func() { _, err := r.say(); failed <- err }()
		}
		r.await(func() bool { return r.Stats(hello).Attempts == 3 })
		r.Close()
		r.Close()
		want(t, "ended", r.Stats(hello).Ended, 3)
		for range 3 {
			wantCode(t, <-failed, codes.Unavailable)
		}
		if _, err := r.say(); status.Code(err) != codes.Unavailable {
			t.Errorf("after Close: %v", err)
		}
	})
}

func (r *rig) isTCP() bool {
	_, ok := r.listener.Addr().(*net.TCPAddr)
	return ok
}

func (r *rig) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

func TestEndedConnectionsAreForgotten(t *testing.T) {
	bubble(t, func(r *rig) {
		r.Script(hello, GoAway(), Reset())
		r.wantSay(codes.OK)
		r.wantSay(codes.Unavailable)
		r.wantSay(codes.OK)
		synctest.Wait()
		want(t, "connections", r.connections(), 1)
	})
}

func TestDrainEndsWithTheClient(t *testing.T) {
	c := newConn(nil)
	c.goAway.Do(func() {}) // begun, and GOAWAY never written
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantCode(t, c.drain(ctx), codes.Canceled)
}

func TestStartOnAnAddress(t *testing.T) {
	first, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(WithAddr(first.Addr())); err == nil {
		t.Fatal("served on an address in use")
	}
	first.Close()
	second, err := Start(WithAddr(first.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Addr() != first.Addr() {
		t.Errorf("serves on %s, want %s", second.Addr(), first.Addr())
	}
}
