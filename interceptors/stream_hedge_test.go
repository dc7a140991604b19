package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// hedgedStreams runs f with a greeter whose server streams are hedged after
// 10 ms, in virtual time.
func hedgedStreams(t *testing.T, policy interceptors.Policy, f func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, events *hedgeEvents)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := flakyserver.StartBuffer()
		defer s.Close()
		events := &hedgeEvents{}
		if policy.Hedge.MaxAttempts == 0 {
			policy.Hedge.MaxAttempts = 3
		}
		policy.Hedge.Delay = 10 * ms
		suite := newSuite(t, interceptors.WithObserver(events),
			interceptors.WithMethodPolicy(helloServer, policy), interceptors.WithMethodPolicy(helloBidi, policy))
		cc, err := s.Dial(suite.DialOptions()...)
		if err != nil {
			t.Fatal(err)
		}
		f(t, s, greeterpb.NewGreeterClient(cc), events)
		_ = cc.Close()
	})
}

// all receives a stream to its end.
func all(stream grpc.ServerStreamingClient[greeterpb.HelloReply]) (got []string, err error) {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got = append(got, m.GetMessage())
	}
}

var greetings = []string{"Hello Ann #1", "Hello Ann #2", "Hello Ann #3"}

func TestHedgedStream(t *testing.T) {
	unavailable := flakyserver.Fail(codes.Unavailable, "scripted")
	for _, tc := range []struct {
		name   string
		steps  []flakyserver.Step
		code   codes.Code
		took   time.Duration
		events []string
	}{
		{"the first in time", []flakyserver.Step{flakyserver.OK().After(5 * ms)}, 0, 5 * ms,
			[]string{"attempt 1 first OK", "call 1 success_first"}},
		{"the second is faster", []flakyserver.Step{flakyserver.Hang(), flakyserver.OK().After(5 * ms)}, 0, 15 * ms,
			[]string{"2 won", "attempt 1 first Canceled", "attempt 2 hedge OK", "call 2 success_hedge"}},
		{"headers alone do not win", []flakyserver.Step{flakyserver.Hang().Header("early", "yes"), flakyserver.OK()}, 0, 10 * ms,
			[]string{"2 won", "attempt 1 first Canceled", "attempt 2 hedge OK", "call 2 success_hedge"}},
		{"a failure starts the next at once", []flakyserver.Step{unavailable.After(2 * ms), flakyserver.OK()}, 0, 2 * ms,
			[]string{"attempt 1 first Unavailable", "2 won", "attempt 2 hedge OK", "call 2 success_hedge"}},
		{"after headers too", []flakyserver.Step{unavailable.Header("early", "yes").After(2 * ms), flakyserver.OK()}, 0, 2 * ms,
			[]string{"attempt 1 first Unavailable", "2 won", "attempt 2 hedge OK", "call 2 success_hedge"}},
		{"a fatal failure ends it", []flakyserver.Step{flakyserver.Hang(), flakyserver.Fail(codes.NotFound, "scripted")}, codes.NotFound, 10 * ms,
			[]string{"attempt 2 hedge NotFound", "2 lost", "attempt 1 first Canceled", "call 2 failed"}},
		{"all fail", []flakyserver.Step{unavailable, unavailable, unavailable.After(3 * ms)}, codes.Unavailable, 3 * ms,
			[]string{"attempt 1 first Unavailable", "attempt 2 hedge Unavailable", "2 lost", "attempt 3 hedge Unavailable", "3 lost", "call 3 failed exhausted"}},
		{"no messages", []flakyserver.Step{flakyserver.Hang(), flakyserver.OK().AfterReplies(0)}, 0, 10 * ms,
			[]string{"2 won", "attempt 1 first Canceled", "attempt 2 hedge OK", "call 2 success_hedge"}},
		{"cut after messages", []flakyserver.Step{unavailable.AfterReplies(3), flakyserver.OK()}, codes.Unavailable, 0,
			[]string{"attempt 1 first Unavailable", "call 1 failed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, events *hedgeEvents) {
				s.Script(helloServer, tc.steps...)
				began, req := time.Now(), &greeterpb.HelloRequest{Name: "Ann"}
				stream, err := g.SayHelloServerStream(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				req.Name = "changed since"
				got, err := all(stream)
				if took := time.Since(began); status.Code(err) != tc.code || took != tc.took {
					t.Errorf("%v after %v, want %v after %v", err, took, tc.code, tc.took)
				}
				if want := greetings; tc.events[len(tc.events)-1][:4] == "call" && (tc.code == 0 || strings.HasPrefix(tc.name, "cut")) &&
					tc.name != "no messages" && !slices.Equal(got, want) {
					t.Errorf("received %q, want %q", got, want)
				}
				if lines := events.lines(); !slices.Equal(lines, tc.events) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(tc.events, "\n"))
				}
				synctest.Wait()
				if stats := s.Stats(helloServer); stats.Attempts != stats.Ended {
					t.Errorf("%d attempts, %d ended: a loser lives on", stats.Attempts, stats.Ended)
				}
			})
		})
	}
}

// TestHedgedStreamHeader: whose header is asked for is the stream.
func TestHedgedStreamHeader(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
		s.Script(helloServer, flakyserver.Hang(), flakyserver.OK().Header("from", "second").Trailer("end", "second"), flakyserver.OK())
		var header, trailer metadata.MD
		stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		md, err := stream.Header()
		if err != nil || len(md.Get("from")) != 1 {
			t.Errorf("%v, %v, want the second's header", md, err)
		}
		got, err := all(stream)
		if err != nil || !slices.Equal(got, greetings) {
			t.Errorf("%q, %v", got, err)
		}
		if fmt.Sprint(header.Get("from"), trailer.Get("end"), stream.Trailer().Get("end")) != "[second] [second] [second]" {
			t.Errorf("header %v, trailer %v and %v, want the second's", header, trailer, stream.Trailer())
		}

		s.Script(helloServer, flakyserver.Fail(codes.NotFound, "scripted"))
		stream, err = g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
		if err != nil {
			t.Fatal(err)
		}
		if md, err := stream.Header(); md != nil || err != nil {
			t.Errorf("%v, %v of a stream that failed without a header", md, err)
		}
		_, err = stream.Recv()
		wantCode(t, err, codes.NotFound)
	})
}

// TestHedgedStreamContext: asked for its context, the stream is its first
// attempt.
func TestHedgedStreamContext(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
		s.Script(helloServer, flakyserver.OK().After(50*ms), flakyserver.OK())
		stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
		if err != nil {
			t.Fatal(err)
		}
		if stream.Context() == t.Context() || stream.Context().Err() != nil {
			t.Errorf("%v is not an attempt's that lives", stream.Context())
		}
		began := time.Now()
		got, err := all(stream)
		if took := time.Since(began); err != nil || !slices.Equal(got, greetings) || took != 50*ms {
			t.Errorf("%q, %v after %v, want the first attempt's", got, err, took)
		}
		if n := s.Stats(helloServer).Attempts; n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

func TestHedgedStreamAbandoned(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, events *hedgeEvents) {
		s.Always(helloServer, flakyserver.Hang())
		ctx, cancel := context.WithCancel(t.Context())
		finished := 0
		_, err := g.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"}, grpc.OnFinish(func(error) { finished++ }))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * ms) // nobody waits, so nobody hedges
		cancel()
		synctest.Wait()
		if want := []string{"attempt 1 first Canceled", "call 1 failed"}; !slices.Equal(events.lines(), want) || finished != 1 {
			t.Errorf("got %v, finished %d times, want %v and once", events.lines(), finished, want)
		}

		ctx, cancel = context.WithTimeout(t.Context(), 25*ms)
		defer cancel()
		stream, err := g.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		wantCode(t, err, codes.DeadlineExceeded)
		synctest.Wait()
		if stats := s.Stats(helloServer); stats.Attempts != 4 || stats.Ended != 4 {
			t.Errorf("%d attempts, %d ended, want 4", stats.Attempts, stats.Ended)
		}
	})
}

// TestHedgedStreamLives: what bounds attempts does not bound the stream.
func TestHedgedStreamLives(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{AttemptTimeout: 20 * ms}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
		s.Script(helloServer, flakyserver.OK().Stall(time.Hour))
		stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := all(stream); err != nil || !slices.Equal(got, greetings) {
			t.Errorf("%q, %v", got, err)
		}
		s.Always(helloServer, flakyserver.Hang())
		if stream, err = g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = stream.Recv()
		if took := time.Since(began); status.Code(err) != codes.DeadlineExceeded || took != 40*ms {
			t.Errorf("%v after %v, want three attempts' timeouts, the last after 40 ms", err, took)
		}
	})
}

// TestStreamsOfTheClientAreNotHedged, whatever their policy.
func TestStreamsOfTheClientAreNotHedged(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
		s.Script(helloBidi, flakyserver.OK().After(50*ms))
		stream, err := g.SayHelloBidi(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&greeterpb.HelloRequest{Name: "Ann"}); err != nil {
			t.Fatal(err)
		}
		if reply, err := stream.Recv(); err != nil || reply.GetMessage() != "Hello Ann" {
			t.Errorf("%v, %v", reply, err)
		}
		if n := s.Stats(helloBidi).Attempts; n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
		_ = stream.CloseSend()
		_, err = stream.Recv()
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}
