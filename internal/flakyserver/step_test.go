package flakyserver

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestFailIsTrailersOnly(t *testing.T) {
	over(t, func(r *rig) {
		r.Always(Any, Fail(codes.NotFound, "who?"))
		stream := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
		_, err := stream.Recv()
		wantCode(t, err, codes.NotFound)
		want(t, "message", status.Convert(err).Message(), "who?")
		if md, _ := stream.Header(); md != nil {
			t.Errorf("headers came: %v", md)
		}
	})
}

func TestFailAfterHeaders(t *testing.T) {
	over(t, func(r *rig) {
		for _, step := range []Step{
			Fail(codes.NotFound, "").Header(),
			Fail(codes.NotFound, "").Header("a", "1", "a", "2").Header("b", "3"),
		} {
			r.Always(Any, step)
			stream := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
			_, err := stream.Recv()
			wantCode(t, err, codes.NotFound)
			md, _ := stream.Header()
			if md == nil || !slices.Equal(md.Get("a"), step.header.Get("a")) || !slices.Equal(md.Get("b"), step.header.Get("b")) {
				t.Errorf("headers: %v, want %v", md, step.header)
			}
		}
	})
}

func TestHeaderComesBeforeHang(t *testing.T) {
	over(t, func(r *rig) {
		r.Always(Any, Hang().Header("a", "1"))
		ctx, cancel := context.WithCancel(r.ctx)
		stream := must(r.client.SayHelloBidi(ctx))(t)
		md := must(stream.Header())(t)
		want(t, "a", md.Get("a")[0], "1")
		cancel()
		_, err := stream.Recv()
		wantCode(t, err, codes.Canceled)
	})
}

func TestDetailsTrailersAndPushback(t *testing.T) {
	over(t, func(r *rig) {
		base := Fail(codes.Unavailable, "x").Trailer("t", "1")
		for _, pushback := range [][]string{{"50"}, {""}, {" 50"}, {"-1"}, {"x"}, {"1", "2"}, {"9223372036855"}} {
			r.Always(Any, base.Pushback("replaced").Pushback(pushback...).Trailer("t", "2").RetryInfo(time.Second).Detail(&errdetails.ErrorInfo{Reason: "R"}))
			var trailer metadata.MD
			_, err := r.say(grpc.Trailer(&trailer))
			if got := trailer.Get("grpc-retry-pushback-ms"); !slices.Equal(got, pushback) {
				t.Errorf("pushback %q, want %q", got, pushback)
			}
			if got := trailer.Get("t"); !slices.Equal(got, []string{"1", "2"}) {
				t.Errorf("trailer t: %q", got)
			}
			details := status.Convert(err).Details()
			if len(details) != 2 || details[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration() != time.Second ||
				details[1].(*errdetails.ErrorInfo).GetReason() != "R" {
				t.Errorf("details: %v", details)
			}
		}
		if base.trailer.Len() != 1 {
			t.Errorf("a step was changed by deriving from it: %v", base.trailer)
		}
	})
}

func TestDetailNeedsAStatus(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	OK().RetryInfo(time.Second)
}

func TestHangEndsWithTheClient(t *testing.T) {
	over(t, func(r *rig) {
		r.Script(hello, Hang(), Hang())
		ctx, cancel := context.WithCancel(r.ctx)
		go func() {
			defer cancel()
			_ = r.Await(r.ctx, func() bool { return r.Stats(hello).Attempts == 1 })
		}()
		_, err := r.client.SayHello(ctx, request("Ann"))
		wantCode(t, err, codes.Canceled)
		short, cancel := context.WithTimeout(r.ctx, time.Millisecond)
		defer cancel()
		_, err = r.client.SayHello(short, request("Ann"))
		wantCode(t, err, codes.DeadlineExceeded)
		r.wantSay(codes.OK)
	})
}

func TestAfterAndStallTakeTheirTime(t *testing.T) {
	over(t, func(r *rig) {
		r.Script(hello, OK().After(20*time.Millisecond), OK().Stall(20*time.Millisecond))
		for range 2 {
			start := time.Now()
			r.wantSay(codes.OK)
			if d := time.Since(start); d < 20*time.Millisecond {
				t.Errorf("answered after %v", d)
			}
		}
	})
}

func TestHours(t *testing.T) {
	bubble(t, func(r *rig) {
		r.Script(helloServer, OK().After(time.Hour).Header("a", "1").AfterReplies(1).Stall(2*time.Hour))
		start := time.Now()
		stream := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
		must(stream.Header())(t)
		want(t, "headers", time.Since(start), time.Hour)
		must(stream.Recv())(t)
		want(t, "reply", time.Since(start), time.Hour)
		_, err := stream.Recv()
		want(t, "end", err.Error(), "EOF")
		want(t, "end", time.Since(start), 3*time.Hour)
	})
}

func TestWaitsEndWithTheClient(t *testing.T) {
	for name, step := range map[string]Step{
		"After": OK().After(time.Hour), "Stall": Fail(codes.Internal, "").Stall(time.Hour), "Hang": Hang(),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.Always(hello, step)
				start := time.Now()
				ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
				defer cancel()
				_, err := r.client.SayHello(ctx, request("Ann"))
				wantCode(t, err, codes.DeadlineExceeded)
				r.await(func() bool { return r.Stats(hello).Ended == 1 })
				want(t, "server's end", time.Since(start), time.Minute)
				// The client tells by RST_STREAM, or the server's own timer is first.
				c := r.Stats(hello).Codes
				want(t, "gone", c[codes.DeadlineExceeded]+c[codes.Canceled], 1)
			})
		})
	}
}
