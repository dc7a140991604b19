package flakyserver

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
)

func TestStats(t *testing.T) {
	over(t, func(r *rig) {
		r.Script(hello, aborted, Fail(codes.Code(99), ""), Reset())
		r.wantSay(codes.Aborted)
		_, _ = r.say()
		r.wantSay(codes.Unavailable)
		r.wantSay(codes.OK)
		must(drain(must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)))(t)
		r.await(func() bool { return r.Stats(Any).Ended == 5 })

		got := r.Stats(hello)
		codesWant := map[codes.Code]int64{codes.Aborted: 1, codes.Unknown: 1, codes.OK: 1}
		if !maps.Equal(got.Codes, codesWant) {
			t.Errorf("codes: %v", got.Codes)
		}
		want(t, "attempts", got.Attempts, 4)
		want(t, "served", got.Served, 1)
		want(t, "resets", got.Resets, 1)
		want(t, "all attempts", r.Stats(Any).Attempts, 5)
		want(t, "all served", r.Stats(Any).Served, 2)
	})
}

func TestStatsUnderLoad(t *testing.T) {
	over(t, func(r *rig) {
		r.Random(hello, 1, Mix{0.3, []Step{aborted}})
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				for range 50 {
					_, _ = r.say()
					if s := r.Stats(hello); s.Ended > s.Attempts {
						t.Errorf("%d ended of %d", s.Ended, s.Attempts)
					}
				}
			})
		}
		calls.Wait()
		r.await(func() bool { return r.Stats(hello).Ended == 400 })
		s := r.Stats(hello)
		want(t, "sum", s.Codes[codes.OK]+s.Codes[codes.Aborted], 400)
		want(t, "log", len(r.Attempts(hello)), 400)
	})
}

func TestAttempts(t *testing.T) {
	over(t, func(r *rig) {
		r.Script(hello, OK(), OK(), OK(), aborted)
		before := time.Now()
		for _, previous := range [][]string{nil, {"2"}, {"1", "3"}, {"x"}} {
			md := metadata.Pairs("k", "v")
			md["grpc-previous-rpc-attempts"] = previous
			_, _ = r.client.SayHello(metadata.NewOutgoingContext(r.ctx, md), request("Ann"))
		}
		_ = last(r, hello)
		all := r.Attempts(hello)
		for i, previous := range []int{0, 2, -1, -1} {
			want(t, "previous", all[i].Previous, previous)
		}
		a := all[3]
		want(t, "method", a.Method, hello)
		want(t, "metadata", a.Metadata.Get("k")[0], "v")
		want(t, "received", a.Received, 1)
		want(t, "sent", a.Sent, 0)
		want(t, "ended", a.Ended, true)
		want(t, "code", a.Code, codes.Aborted)
		want(t, "sent", all[0].Sent, 1)
		if a.Time.Before(before) || a.Time.After(time.Now()) {
			t.Errorf("time %v", a.Time)
		}
		deadline, _ := r.ctx.Deadline()
		if d := deadline.Sub(a.Deadline).Abs(); d > time.Second {
			t.Errorf("deadline %v off", d)
		}
		a.Metadata.Set("k", "changed")
		want(t, "snapshot", r.Attempts(Any)[3].Metadata.Get("k")[0], "v")

		_, _ = r.client.SayHello(context.WithoutCancel(r.ctx), request("Ann"))
		want(t, "no deadline", last(r, hello).Deadline, time.Time{})
		want(t, "other methods", len(r.Attempts(helloBidi)), 0)
	})
}

func TestLogIsBounded(t *testing.T) {
	for limit, wantLen := range map[int]int{0: 0, 3: 3, 9: 5} {
		over(t, func(r *rig) {
			for i := range 5 {
				ctx := metadata.AppendToOutgoingContext(r.ctx, "grpc-previous-rpc-attempts", string(rune('0'+i)))
				_, _ = r.client.SayHello(ctx, request("Ann"))
			}
			all := r.Attempts(hello)
			want(t, "kept", len(all), wantLen)
			for i, a := range all {
				want(t, "the last, in order", a.Previous, 5-wantLen+i)
			}
			want(t, "counted", r.Stats(hello).Attempts, 5)
		}, WithLog(limit))
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	bubble(t, func(r *rig) {
		ctx, cancel := context.WithTimeout(r.ctx, time.Hour)
		defer cancel()
		if err := r.Await(ctx, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
