package chaos_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/astratest"
	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const find = "/search.Search/Find"

// rig is a server, and a client with an injector beneath what else there is.
type rig struct {
	*astratest.Server
	*chaos.Injector
	t    *testing.T
	conn *grpc.ClientConn
	log  *bytes.Buffer
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, opts []interceptors.Option, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, Server: astratest.Start(t), log: &bytes.Buffer{}}
		r.Injector = injector(t, chaos.WithConsent(), chaos.WithLogger(slog.New(slog.NewTextHandler(r.log, nil))))
		dial := []grpc.DialOption{grpc.WithDisableRetry()}
		if opts != nil {
			suite, err := interceptors.New(opts...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = suite.Close() })
			dial = suite.DialOptions()
		}
		r.conn = r.Dial(append(dial, r.DialOptions()...)...)
		r.call() // there is a connection
		test(r)
	})
}

func injector(t *testing.T, opts ...chaos.Option) *chaos.Injector {
	t.Helper()
	i, err := chaos.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	return i
}

// start begins a plan of an hour.
func (r *rig) start(faults ...chaos.Fault) {
	r.t.Helper()
	if err := r.Start(chaos.Plan{For: time.Hour, Seed: 1, Faults: faults}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) call(opts ...grpc.CallOption) error {
	var reply wrapperspb.StringValue
	return r.callWith(r.t.Context(), &reply, opts...)
}

func (r *rig) callWith(ctx context.Context, reply any, opts ...grpc.CallOption) error {
	return r.conn.Invoke(ctx, find, wrapperspb.String("what"), reply, opts...)
}

func (r *rig) attempts() int { return len(r.Attempts(find)) - 1 } // without the first

func TestConsent(t *testing.T) {
	i := injector(t)
	plan := chaos.Plan{For: time.Minute, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Unsent, Share: 1}}}
	if err := i.Start(plan); !errors.Is(err, chaos.ErrNoConsent) {
		t.Errorf("Start: %v, want ErrNoConsent", err)
	}
	if err := i.Update(&plan); !errors.Is(err, chaos.ErrNoConsent) {
		t.Errorf("Update: %v, want ErrNoConsent", err)
	}
	if err := i.Update(nil); err != nil {
		t.Errorf("Update without a plan: %v", err)
	}
	if i.Active() || i.Consented() || i.DialOptions() != nil {
		t.Error("it is active, or would be")
	}
	if _, err := chaos.New(nil); err == nil {
		t.Error("a nil option is taken")
	}
}

// What each kind does to a unary call, and what the server sees of it.
func TestUnary(t *testing.T) {
	for _, c := range []struct {
		fault    chaos.Fault
		code     codes.Code
		took     time.Duration
		attempts int
		peer     bool // the request seems to have been sent
		trailer  bool // somebody seems to have answered
	}{
		{chaos.Fault{Kind: chaos.Latency, Latency: time.Second}, codes.OK, time.Second, 1, true, false},
		{chaos.Fault{Kind: chaos.Latency, Latency: time.Minute}, codes.DeadlineExceeded, 10 * time.Second, 0, false, false},
		{chaos.Fault{Kind: chaos.Status, Code: codes.Aborted}, codes.Aborted, 0, 0, true, true},
		{chaos.Fault{Kind: chaos.Unsent}, codes.Unavailable, 0, 0, false, false},
		{chaos.Fault{Kind: chaos.Reset}, codes.Unavailable, 0, 1, true, false},
		{chaos.Fault{Kind: chaos.Hang}, codes.DeadlineExceeded, 10 * time.Second, 0, true, false},
	} {
		t.Run(fmt.Sprintf("%v %v", c.fault.Kind, c.code), func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				c.fault.Method, c.fault.Share = find, 1
				r.start(c.fault)
				ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
				defer cancel()
				var (
					trailer  metadata.MD
					from     peer.Peer
					finished []error
					reply    wrapperspb.StringValue
					begin    = time.Now()
				)
				err := r.callWith(ctx, &reply, grpc.Trailer(&trailer), grpc.Peer(&from), grpc.OnFinish(func(err error) { finished = append(finished, err) }))
				astratest.WantCode(t, err, c.code)
				if took := time.Since(begin); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if got := r.attempts(); got != c.attempts {
					t.Errorf("%d attempts at the server, want %d", got, c.attempts)
				}
				if (from.Addr != nil) != c.peer || (len(trailer) > 0) != c.trailer {
					t.Errorf("peer %v, trailer %v; want them %v, %v", from.Addr, trailer, c.peer, c.trailer)
				}
				if err != nil && reply.GetValue() != "" {
					t.Errorf("the failed call has a reply: %v", &reply)
				}
				if len(finished) != 1 || status.Code(finished[0]) != c.code {
					t.Errorf("OnFinish was called with %v, want once with %v", finished, c.code)
				}
				if err := r.conn.Invoke(r.t.Context(), "/other.Service/Method", wrapperspb.String(""), &reply); err != nil {
					t.Errorf("a method that the plan does not name: %v", err)
				}
			})
		})
	}
}

func TestStatusDetails(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.start(chaos.Fault{
			Method: "/search.Search/*", Kind: chaos.Status, Share: 1, Code: codes.ResourceExhausted, Message: "quota",
			RetryInfo: time.Second, Pushback: 1500 * time.Millisecond, Details: []proto{&errdetails.ErrorInfo{Reason: "QUOTA"}},
		})
		var trailer metadata.MD
		s := status.Convert(r.call(grpc.Trailer(&trailer)))
		var retry *errdetails.RetryInfo
		var info *errdetails.ErrorInfo
		for _, d := range s.Details() {
			switch d := d.(type) {
			case *errdetails.RetryInfo:
				retry = d
			case *errdetails.ErrorInfo:
				info = d
			}
		}
		if s.Code() != codes.ResourceExhausted || s.Message() != "quota" || retry.GetRetryDelay().AsDuration() != time.Second || info.GetReason() != "QUOTA" {
			t.Errorf("status %v", s.Proto())
		}
		if got := trailer.Get("grpc-retry-pushback-ms"); len(got) != 1 || got[0] != "1500" {
			t.Errorf("pushback %v, want 1500", got)
		}
		r.start(chaos.Fault{Method: "*", Kind: chaos.Status, Share: 1, Code: codes.Unavailable, Pushback: -time.Hour})
		astratest.WantCode(t, r.call(grpc.Trailer(&trailer)), codes.Unavailable)
		if got := trailer.Get("grpc-retry-pushback-ms"); len(got) != 1 || got[0] != "-1" {
			t.Errorf("pushback %v, want -1", got)
		}
	})
}

// Beneath a suite: what may not be repeated is not, what may is, and the server's
// pushback counts, injected or not.
func TestBeneathASuite(t *testing.T) {
	exact := jitter.Backoff{Jitter: jitter.None}
	asked := interceptors.Policy{Retry: interceptors.Retry{Backoff: exact}}
	for _, c := range []struct {
		name     string
		policy   interceptors.Policy
		fault    chaos.Fault
		code     codes.Code
		attempts int // at the server
		took     time.Duration
	}{
		{"lost, by default", interceptors.Policy{}, chaos.Fault{Kind: chaos.Reset}, codes.Unavailable, 1, 0},
		{"lost, retries asked for", asked, chaos.Fault{Kind: chaos.Reset}, codes.Unavailable, 3, 1500 * time.Millisecond},
		{"unsent", asked, chaos.Fault{Kind: chaos.Unsent}, codes.Unavailable, 0, 1500 * time.Millisecond},
		{"pushback", asked, chaos.Fault{Kind: chaos.Status, Code: codes.Unavailable, Pushback: 100 * time.Millisecond}, codes.Unavailable, 0, 200 * time.Millisecond},
		{"hang", interceptors.Policy{Retry: asked.Retry, AttemptTimeout: time.Second}, chaos.Fault{Kind: chaos.Hang}, codes.DeadlineExceeded, 0, 4500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, []interceptors.Option{interceptors.WithPolicy(c.policy)}, func(r *rig) {
				c.fault.Method, c.fault.Share = "*", 1
				r.start(c.fault)
				begin := time.Now()
				astratest.WantCode(t, r.call(), c.code)
				if took := time.Since(begin); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if got := r.attempts(); got != c.attempts {
					t.Errorf("%d attempts at the server, want %d", got, c.attempts)
				}
			})
		})
	}
}

func TestCorrupt(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.start(chaos.Fault{Method: "*", Kind: chaos.Corrupt, Share: 1})
		changed, undecodable := 0, 0
		for range 200 {
			var reply wrapperspb.StringValue
			switch err := r.callWith(r.t.Context(), &reply); {
			case status.Code(err) == codes.Internal:
				undecodable++
			case err != nil:
				t.Fatal(err)
			case reply.GetValue() == "what":
				t.Fatal("a reply came as it was sent")
			default:
				changed++
			}
		}
		if changed < 20 || undecodable < 20 {
			t.Errorf("%d changed, %d undecodable: want both", changed, undecodable)
		}
	})
}

// The same seed brings the same faults, in the share asked for; another other ones.
func TestSeed(t *testing.T) {
	draw := func(seed uint64) (text string) {
		bubble(t, nil, func(r *rig) {
			plan := chaos.Plan{For: time.Hour, Seed: seed, Faults: []chaos.Fault{
				{Method: "*", Kind: chaos.Latency, Share: 0.5, Latency: time.Millisecond, Spread: time.Millisecond},
				{Method: find, Kind: chaos.Unsent, Share: 0.2},
			}}
			if err := r.Start(plan); err != nil {
				t.Fatal(err)
			}
			begin, failed, slow := time.Now(), 0, 0
			for range 1000 {
				before := time.Now()
				err := r.call()
				wait := time.Since(before)
				if wait > 2*time.Millisecond || wait > 0 && wait < time.Millisecond {
					t.Fatalf("waited %v, want 1 to 2 ms", wait)
				}
				if wait > 0 {
					slow++
				}
				if err != nil {
					failed++
					text += "x"
				} else {
					text += "."
				}
			}
			if failed < 150 || failed > 250 || slow < 400 || slow > 600 {
				t.Errorf("%d failed and %d were slow of 1000, want about 200 and 500", failed, slow)
			}
			if mean := time.Since(begin) / time.Duration(slow); mean < 1400*time.Microsecond || mean > 1600*time.Microsecond {
				t.Errorf("slow attempts waited %v on average, want about 1.5 ms", mean)
			}
		})
		return text
	}
	first := draw(1)
	if draw(1) != first {
		t.Error("the same seed drew other attempts")
	}
	if draw(2) == first {
		t.Error("another seed drew the same attempts")
	}
}

func TestWindows(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		begin := time.Now()
		err := r.Start(chaos.Plan{Start: begin.Add(time.Second), For: 10 * time.Second, Faults: []chaos.Fault{
			{Method: "*", Kind: chaos.Status, Code: codes.Aborted, Share: 1, From: 2 * time.Second, For: 3 * time.Second},
			{Method: "*", Kind: chaos.Unsent, Share: 1, From: 6 * time.Second},
		}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 13 {
			got = append(got, status.Code(r.call()).String())
			time.Sleep(time.Second)
		}
		if want := "OK OK OK Aborted Aborted Aborted OK Unavailable Unavailable Unavailable Unavailable OK OK"; strings.Join(got, " ") != want {
			t.Errorf("second by second\n%v, want\n%v", got, want)
		}
		synctest.Wait()
		if r.Active() || !strings.Contains(r.log.String(), "its window is over") || !strings.Contains(r.log.String(), "injected=7") {
			t.Errorf("active %v, log:\n%s", r.Active(), r.log)
		}
		if err := r.Start(chaos.Plan{Start: begin, For: time.Second, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Unsent, Share: 1}}}); err != nil || r.Active() {
			t.Errorf("a plan whose window is over: %v, active %v", err, r.Active())
		}
	})
}

// Stop releases what is kept waiting, at once.
func TestStop(t *testing.T) {
	for _, f := range []chaos.Fault{{Kind: chaos.Hang}, {Kind: chaos.Latency, Latency: time.Minute}} {
		bubble(t, nil, func(r *rig) {
			f.Method, f.Share = "*", 1
			r.start(f)
			begin, done := time.Now(), make(chan error)
			go func() { done <- r.call() }()
			time.Sleep(time.Second)
			r.Stop()
			astratest.WantCode(t, <-done, codes.OK)
			if took := time.Since(begin); took != time.Second {
				t.Errorf("%v: took %v, want 1 s", f.Kind, took)
			}
			astratest.WantCode(t, r.call(), codes.OK)
			r.Stop() // again
			if !strings.Contains(r.log.String(), "it was stopped") {
				t.Errorf("log:\n%s", r.log)
			}
		})
	}
}

// Update leaves a plan alone that it was given before.
func TestUpdate(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		plan := func() *chaos.Plan {
			return &chaos.Plan{For: 10 * time.Second, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Unsent, Share: 1}}}
		}
		update := func(p *chaos.Plan, active bool) {
			t.Helper()
			if err := r.Update(p); err != nil {
				t.Fatal(err)
			}
			if r.Active() != active {
				t.Errorf("active %v, want %v", !active, active)
			}
		}
		update(plan(), true)
		time.Sleep(6 * time.Second)
		update(plan(), true)
		time.Sleep(6 * time.Second)
		update(plan(), false) // its window was not begun anew
		other := plan()
		other.Seed = 2
		update(other, true)
		r.Stop()
		update(other, false) // it was stopped
		update(nil, false)
		update(other, true) // it was gone, and is back
		update(nil, false)
		if err := r.Update(&chaos.Plan{}); err == nil {
			t.Error("an invalid plan is taken")
		}
	})
}

// Injections are counted, reported, and logged, the first of each fault.
func TestSeen(t *testing.T) {
	var hooked atomic.Int64
	var log bytes.Buffer
	var i *chaos.Injector
	asks := slog.New(asking{slog.NewTextHandler(&log, nil), func() {
		_ = i.Active()
		i.Injected(func(string, string, uint64) {})
		i.Stop() // of a plan that has not begun yet, or has ended
	}})
	i = injector(t, chaos.WithConsent(), chaos.WithLogger(asks), chaos.WithHook(func(in chaos.Injection) {
		if in == (chaos.Injection{Method: find, Pattern: "*", Kind: chaos.Unsent}) {
			hooked.Add(1)
		}
	}))
	intercept := i.UnaryClientInterceptor()
	call := func() error {
		return intercept(t.Context(), find, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil })
	}
	if err := i.Start(chaos.Plan{For: time.Hour, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Unsent, Share: 1}}}); err != nil {
		t.Fatal(err) // and the handler has stopped it: nothing deadlocks
	}
	if i.Active() {
		t.Fatal("the log handler's Stop came to nothing")
	}
	i = injector(t, chaos.WithConsent(), chaos.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), chaos.WithHook(func(chaos.Injection) { hooked.Add(1) }))
	intercept = i.UnaryClientInterceptor()
	if err := i.Start(chaos.Plan{For: time.Hour, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Unsent, Share: 1}}}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		astratest.WantCode(t, call(), codes.Unavailable)
	}
	var counts []string
	i.Injected(func(pattern, kind string, n uint64) { counts = append(counts, fmt.Sprint(pattern, kind, n)) })
	if len(counts) != 1 || counts[0] != "*unsent5" || hooked.Load() != 5 {
		t.Errorf("counted %v, hooked %d; want 5", counts, hooked.Load())
	}
	if n := strings.Count(log.String(), "for the first time"); n != 1 {
		t.Errorf("%d injections logged, want the first:\n%s", n, &log)
	}
}

// asking is a handler of logs that asks the injector something.
type asking struct {
	slog.Handler
	ask func()
}

func (a asking) Handle(ctx context.Context, r slog.Record) error {
	a.ask()
	return a.Handler.Handle(ctx, r)
}

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		fault    chaos.Fault
		received int
		code     codes.Code
		attempts int
	}{
		{chaos.Fault{Kind: chaos.Status, Code: codes.Aborted}, 0, codes.Aborted, 0},
		{chaos.Fault{Kind: chaos.Unsent}, 0, codes.Unavailable, 0},
		{chaos.Fault{Kind: chaos.Reset}, 0, codes.Unavailable, 1},
		{chaos.Fault{Kind: chaos.Reset, After: 2}, 2, codes.Unavailable, 1},
		{chaos.Fault{Kind: chaos.Hang, After: 1}, 1, codes.DeadlineExceeded, 1},
		{chaos.Fault{Kind: chaos.Latency, Latency: time.Second}, 3, codes.OK, 1},
		{chaos.Fault{Kind: chaos.Reset, After: 9}, 3, codes.OK, 1},
	} {
		t.Run(fmt.Sprintf("%v after %d", c.fault.Kind, c.fault.After), func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				r.Script(find, astratest.OK().Reply(wrapperspb.String("a"), wrapperspb.String("b"), wrapperspb.String("c")))
				c.fault.Method, c.fault.Share = "*", 1
				r.start(c.fault)
				ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
				defer cancel()
				n, err := r.list(ctx)
				astratest.WantCode(t, err, c.code)
				if n != c.received {
					t.Errorf("%d messages, want %d", n, c.received)
				}
				synctest.Wait()
				if got := r.attempts(); got != c.attempts {
					t.Errorf("%d attempts at the server, want %d", got, c.attempts)
				}
			})
		})
	}
}

// list receives a server stream to its end.
func (r *rig) list(ctx context.Context) (n int, err error) {
	stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, find)
	if err != nil {
		return 0, err
	}
	if err := stream.SendMsg(wrapperspb.String("")); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if err := stream.CloseSend(); err != nil {
		return 0, err
	}
	for ; ; n++ {
		if err := stream.RecvMsg(&wrapperspb.StringValue{}); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			_, _ = stream.Header() // must not block
			return n, err
		}
	}
}

// A suite repeats streams that were lost before their first message, and none
// after.
func TestStreamsBeneathASuite(t *testing.T) {
	policy := interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 3}})
	for _, c := range []struct{ after, attempts int }{{0, 3}, {1, 1}} {
		bubble(t, []interceptors.Option{policy}, func(r *rig) {
			r.Always(find, astratest.OK().Reply(wrapperspb.String("a"), wrapperspb.String("b")))
			r.start(chaos.Fault{Method: "*", Kind: chaos.Reset, Share: 1, After: c.after})
			_, err := r.list(r.t.Context())
			astratest.WantCode(t, err, codes.Unavailable)
			synctest.Wait()
			if got := r.attempts(); got != c.attempts {
				t.Errorf("lost after %d messages: %d attempts, want %d", c.after, got, c.attempts)
			}
		})
	}
}

func TestOffCostsNothing(t *testing.T) {
	i := injector(t, chaos.WithConsent())
	intercept := i.UnaryClientInterceptor()
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { _ = intercept(ctx, find, nil, nil, nil, invoke) }); n > 0 {
		t.Errorf("%v allocations a call while off", n)
	}
	plan := chaos.Plan{For: time.Hour, Faults: []chaos.Fault{{Method: "/other.Service/*", Kind: chaos.Unsent, Share: 1}}}
	if err := i.Start(plan); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { _ = intercept(ctx, find, nil, nil, nil, invoke) }); n > 0 {
		t.Errorf("%v allocations a call that no fault concerns", n)
	}
}
