package flakyserver

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
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
				// The client sends RST_STREAM, or the server's own timer is first.
				c := r.Stats(hello).Codes
				want(t, "gone", c[codes.DeadlineExceeded]+c[codes.Canceled], 1)
			})
		})
	}
}

func TestReply(t *testing.T) {
	over(t, func(r *rig) {
		reply := func(text string) proto.Message { return &greeterpb.HelloReply{Message: text} }

		r.Script(hello, OK().Reply(reply("scripted")))
		text, err := r.say()
		want(t, "unary", text, "scripted")
		wantCode(t, err, codes.OK)

		r.Script(helloServer, Fail(codes.Aborted, "").Reply(reply("a"), reply("b")), OK().Reply(reply("a"), reply("b")).AfterReplies(3))
		stream := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
		n, err := drain(stream)
		want(t, "replies", n, 2)
		wantCode(t, err, codes.Aborted)
		stream = must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
		for _, text := range []string{"a", "b", "b"} {
			want(t, "reply", must(stream.Recv())(t).GetMessage(), text)
		}
		wantEOF(t, stream)

		// A method that nobody describes: what is left comes after the last request.
		r.Script("/any.Service/List", OK().Reply(reply("a"), reply("b"), reply("c")))
		list := must(r.cc.NewStream(r.ctx, &grpc.StreamDesc{ServerStreams: true}, "/any.Service/List"))(t)
		wantCode(t, list.SendMsg(request("Ann")), codes.OK)
		wantCode(t, list.CloseSend(), codes.OK)
		for _, text := range []string{"a", "b", "c"} {
			var got greeterpb.HelloReply
			wantCode(t, list.RecvMsg(&got), codes.OK)
			want(t, "reply", got.GetMessage(), text)
		}
	})
}

// Described methods whose replies are of another type answer with an empty one,
// which decodes, where an echo need not.
func TestDescribedMethodsAnswerWithTheirType(t *testing.T) {
	over(t, func(r *rig) {
		const check = "/grpc.health.v1.Health/Check" // HealthCheckRequest{string service = 1}, HealthCheckResponse{enum status = 1}
		var got healthpb.HealthCheckResponse
		wantCode(t, r.cc.Invoke(r.ctx, check, &healthpb.HealthCheckRequest{Service: "x"}, &got), codes.OK)
		if !proto.Equal(&got, &healthpb.HealthCheckResponse{}) {
			t.Errorf("reply %v, want an empty one", &got)
		}
	})
}

func TestRefuse(t *testing.T) {
	over(t, func(r *rig) {
		r.wantSay(codes.OK)
		bidi := must(r.client.SayHelloBidi(r.ctx))(t)
		wantCode(t, bidi.Send(request("Ann")), codes.OK)
		must(bidi.Recv())(t)

		r.Refuse()
		_, err := bidi.Recv()
		wantCode(t, err, codes.Unavailable)
		r.wantSay(codes.Unavailable)
		want(t, "attempts", r.Stats(hello).Attempts, 1)

		r.Accept()
		text, err := r.say(grpc.WaitForReady(true))
		want(t, "greeting", text, "Hello Ann")
		wantCode(t, err, codes.OK)
	})
}
