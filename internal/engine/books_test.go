package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/observe"
)

// clocked is a call whose time is given, and what its observers are given.
type clocked struct {
	*Call
	now    time.Duration
	events []observe.Event
}

func newClocked(t *testing.T) *clocked {
	t.Helper()
	k := &clocked{Call: newCall(t)}
	k.Host.Epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	k.Host.Clock = func() time.Duration { return k.now }
	k.Host.Chance = func() float64 { return 0.5 }
	k.Plan.Target, k.Plan.Method = "dns:///ledger", "/ledger.Ledger/Post"
	k.Plan.Record = new(journal.Record)
	o := hooks.NewObserver(observerOf(func(e observe.Event) { k.events = append(k.events, e) }), k.Host.Log, Bounded)
	k.Plan.Recorders.Add(o, observe.Endpoint{})
	return k
}

// observerOf is an observer that wants every event, and how long all took.
type observerOf func(observe.Event)

func (f observerOf) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Elapsed: true, AttemptElapsed: true, Event: func(_ context.Context, e observe.Event) { f(e) }}
}

// again makes the call anew, in a context with so much time; 0: no end.
func (k *clocked) again(t *testing.T, left time.Duration) *Call {
	t.Helper()
	ctx := t.Context()
	if left > 0 {
		ctx = deadlined{ctx, k.Host.Epoch.Add(k.now + left)}
	}
	c := new(Call)
	c.Init(ctx, k.Host, k.Plan, k.Policy, nil)
	c.Start(c.Ctx)
	k.Call = c
	return c
}

// deadlined has a deadline that no timer watches.
type deadlined struct {
	context.Context
	at time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.at, true }

func (k *clocked) kinds() (all []string) {
	for _, e := range k.events {
		all = append(all, e.Kind.String())
	}
	k.events = nil
	return all
}

// What observers and the journal are given of a call that a retry saves is what
// happened, when, and how long it took.
func TestBooksOfARetriedCall(t *testing.T) {
	k := newClocked(t)
	k.now = time.Second
	c := k.again(t, 0)
	k.events = nil
	if err := admit(c); err != nil {
		t.Fatal(err)
	}
	c.Begin(nil)
	k.now += 100 * time.Millisecond
	c.End(unavailable, Evidence{})
	delay, again := c.Next(c.FailureOf(unavailable, nil, nil))
	if !again {
		t.Fatal("no retry")
	}
	c.Pause(delay, unavailable)
	k.now += 300 * time.Millisecond
	if again, err := c.Resume(unavailable); !again || err != nil {
		t.Fatalf("%v, %v; want it resumed", again, err)
	}
	c.Begin(nil)
	k.now += 50 * time.Millisecond
	c.End(nil, Evidence{})
	c.Settle(nil)
	c.Finish(nil, false)
	c.Finish(nil, false)
	events := slices.Clone(k.events)
	if got, want := k.kinds(), []string{"attempt_end", "backoff_start", "backoff_end", "attempt_end", "call_end"}; !slices.Equal(got, want) {
		t.Fatalf("%v, want %v", got, want)
	}
	first, start, end, second, call := events[0], events[1], events[2], events[3], events[4]
	if first.Attempt != 1 || first.Code != codes.Unavailable || first.Elapsed != 100*time.Millisecond || first.AttemptKind != observe.FirstAttempt {
		t.Errorf("first attempt: %+v", first)
	}
	if start.Attempt != 1 || start.Code != codes.Unavailable || start.Delay != delay || end.Delay != delay || end.Attempt != 1 {
		t.Errorf("backoff: %+v, %+v", start, end)
	}
	if second.Attempt != 2 || second.Code != codes.OK || second.Elapsed != 50*time.Millisecond || second.AttemptKind != observe.RetryAttempt {
		t.Errorf("second attempt: %+v", second)
	}
	if call.Outcome != observe.SuccessAfterRetry || call.Attempt != 2 || call.Waited != 300*time.Millisecond || call.Elapsed != 450*time.Millisecond || call.Code != codes.OK || call.FailedCode != codes.Unavailable || call.Exhausted {
		t.Errorf("call: %+v", call)
	}
	notes := k.Plan.Record.Notes()
	if len(notes) != 1 {
		t.Fatalf("%d notes, want one", len(notes))
	}
	n := notes[0]
	trail := []journal.Attempt{
		{Number: 1, Code: codes.Unavailable, At: 1100 * time.Millisecond, Delay: delay},
		{Number: 2, Kind: observe.RetryAttempt, At: 1450 * time.Millisecond},
	}
	if n.Outcome != observe.SuccessAfterRetry || n.Attempts != 2 || n.Waited != 300*time.Millisecond || n.At != k.now || n.Count.Load() != 1 || n.Last.Load() != int64(k.now) ||
		n.Target != k.Plan.Target || n.Method != k.Plan.Method || !slices.Equal(n.Trail, trail) {
		t.Errorf("note %+v", n)
	}
	if n, since, last := k.Plan.Record.Stretch(k.now); n != 1 || since != k.now || last != k.now {
		t.Errorf("%d notable calls from %v to %v, want this one", n, since, last)
	}
	if c.Unwind() {
		t.Error("a finished call had something left open")
	}
}

// A call that succeeds at once is in no journal; one that has used up its attempts
// says so, and is.
func TestBooksOfSuccessAndFailure(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	k.Plan.Recorders.All = nil // nobody listens
	_ = admit(c)
	try(c, nil)
	c.Settle(nil)
	c.Finish(nil, false)
	if notes := k.Plan.Record.Notes(); len(notes) > 0 {
		t.Errorf("a success at once has the note %+v", notes[0])
	}
	k.Policy.BreakerOff, k.Policy.BudgetOff = true, true
	c = k.again(t, 0)
	for range 2 {
		try(c, unavailable)
		if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); !again {
			t.Fatal("no retry")
		}
	}
	try(c, unavailable)
	if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); again {
		t.Fatal("a fourth of three attempts")
	}
	c.Settle(unavailable)
	c.Finish(unavailable, false)
	n := k.Plan.Record.Notes()[0]
	if n.Outcome != observe.Failed || n.Code != codes.Unavailable || !n.Exhausted || n.Attempts != 3 || len(n.Trail) != 3 {
		t.Errorf("%+v", n)
	}
	if r := c.Report(nil, false); r.Exhausted || r.Code != codes.OK {
		t.Errorf("%+v of a call without an error", r)
	}
	if r := c.Report(unavailable, true); r.Outcome != observe.Rescued || !r.Exhausted || r.Code != codes.Unavailable {
		t.Errorf("%+v, want it rescued from what it failed with", r)
	}
}

// A call that was saved says from which code: that of the last attempt that failed.
func TestFailedCode(t *testing.T) {
	aborted := status.Error(codes.Aborted, "scripted")
	for _, c := range []struct {
		fails []error
		want  codes.Code
	}{
		{nil, codes.OK}, {[]error{aborted}, codes.Aborted}, {[]error{aborted, unavailable}, codes.Unavailable},
		{[]error{aborted, unavailable, aborted}, codes.Aborted},
	} {
		k := newClocked(t)
		k.Policy.BreakerOff = true
		call := k.again(t, 0)
		for _, err := range c.fails {
			try(call, err)
		}
		try(call, nil)
		call.Finish(nil, false)
		if e := k.events[len(k.events)-1]; e.Kind != observe.CallEnd || e.Code != codes.OK || e.FailedCode != c.want {
			t.Errorf("after %v: %+v, want the code %v", c.fails, e, c.want)
		}
	}
}

// That the target's budget has run empty is emitted and logged with the code of the
// failure that found it so, and that it has recovered with how long it took.
func TestBudgetTurnsAreEmitted(t *testing.T) {
	k := newClocked(t)
	k.Policy.BreakerOff = true
	var logged []observe.Event
	k.Host.LogChange = func(_, _ string, e observe.Event) { logged = append(logged, e) }
	k.now = time.Minute
	for range 3 { // of two tokens
		c := k.again(t, 0)
		try(c, unavailable)
		_, _ = c.Next(c.FailureOf(unavailable, nil, nil))
		c.funded = false // spent
	}
	k.now += 5 * time.Second
	for range 3 { // half a token each; a whole one is half of all
		c := k.again(t, 0)
		try(c, nil)
		c.Settle(nil)
	}
	var emitted []observe.Event
	for _, e := range k.events {
		if e.Kind == observe.BudgetEmpty || e.Kind == observe.BudgetRecovered {
			emitted = append(emitted, e)
		}
	}
	for name, got := range map[string][]observe.Event{"emitted": emitted, "logged": logged} {
		if len(got) != 2 || got[0].Kind != observe.BudgetEmpty || got[0].Code != codes.Unavailable || got[1].Kind != observe.BudgetRecovered || got[1].Delay != 5*time.Second {
			t.Errorf("%s: %+v, want that it was empty for 5s", name, got)
		}
	}
}

// The trail of a call with many attempts has the first ones, and the last.
func TestTrailIsBounded(t *testing.T) {
	k := newClocked(t)
	k.Policy.BreakerOff = true
	c := k.again(t, 0)
	for i := range journal.MaxTrail + 3 {
		k.now = time.Duration(i + 1)
		try(c, unavailable)
	}
	c.Finish(unavailable, false)
	var got []int
	for _, a := range k.Plan.Record.Notes()[0].Trail {
		got = append(got, a.Number)
	}
	if fmt.Sprint(got) != "[1 2 3 4 5 6 7 11]" {
		t.Errorf("attempts %v, want the first seven and the last", got)
	}
}

// Refusals for one reason, one after another, share a note, and all are counted.
func TestRefusalsShareANote(t *testing.T) {
	k := newClocked(t)
	k.Plan.Breaker.Force(0, time.Hour, breaker.ForcedOpen)
	for i := range 3 {
		k.now = time.Duration(i) * time.Second
		c := k.again(t, 0)
		err := admit(c)
		if !errors.Is(err, ErrBreakerOpen) {
			t.Fatal(err)
		}
		c.Settle(err)
		c.Finish(err, false)
	}
	notes := k.Plan.Record.Notes()
	if len(notes) != 1 || notes[0].Count.Load() != 3 || notes[0].Last.Load() != int64(2*time.Second) || notes[0].At != 0 {
		t.Fatalf("%d notes, the newest %+v; want one of three calls", len(notes), notes[0])
	}
	if n := notes[0]; n.Outcome != observe.RejectedBreaker || n.Reason != observe.ReasonBreakerOpen || n.Code != codes.Unavailable || n.Attempts != 0 {
		t.Errorf("%+v", n)
	}
	if n := k.Plan.Record.BreakerRefused.Load(); n != 3 {
		t.Errorf("%d refusals are counted, want 3", n)
	}
	c := k.again(t, 0) // a refusal by somebody else
	c.rejected, c.refusal = observe.RejectedLimit, observe.ReasonQueueFull
	c.Finish(status.Error(codes.ResourceExhausted, ""), false)
	if n := len(k.Plan.Record.Notes()); n != 2 {
		t.Errorf("%d notes after another kind of refusal, want 2", n)
	}
}

// What an open breaker's refusal says: since when, why, and when it will probe.
func TestRefusalSaysWhenToTryAgain(t *testing.T) {
	k := newClocked(t)
	k.now = 10 * time.Second
	for range 2 {
		c := k.again(t, 0)
		_ = admit(c)
		try(c, unavailable)
		c.Settle(unavailable)
	}
	k.now += 90 * time.Second
	err := admit(k.again(t, 0))
	s := status.Convert(err)
	wait := k.Plan.Breaker.Status(k.now)
	if s.Code() != codes.Unavailable || !errors.Is(err, ErrBreakerOpen) || wait.State != breaker.Open {
		t.Fatal(err)
	}
	for _, want := range []string{"astra: breaker open", "ledger.Ledger/Post", `"dns:///ledger"`, "since 2026-01-02T03:04:15Z", "consecutive", "next probe in 52m30s at the latest"} {
		if !strings.Contains(s.Message(), want) {
			t.Errorf("%q does not say %q", s.Message(), want)
		}
	}
	info, _ := s.Details()[0].(*errdetails.ErrorInfo)
	retry, _ := s.Details()[1].(*errdetails.RetryInfo)
	if info.GetReason() != "BREAKER_OPEN" || info.GetDomain() != "astra" || info.GetMetadata()["open_since"] != "2026-01-02T03:04:15Z" || info.GetMetadata()["cause"] != "consecutive" {
		t.Errorf("%v", info)
	}
	if got := retry.GetRetryDelay().AsDuration(); got != 54*time.Minute-90*time.Second {
		t.Errorf("another call may be made in %v, want 52m30s", got)
	}
}

// What a limit's refusal says, by what lacked.
func TestLimitSaysWhatLacked(t *testing.T) {
	for v, want := range map[limit.Verdict]string{
		limit.QueueFull:    "too many calls in flight",
		limit.QueueTimeout: "timed out waiting for a slot",
		limit.RateLimited:  "rate limit exceeded",
	} {
		err := limited(&Plan{Method: "/a.B/C", Target: "d"}, limit.Answer{Verdict: v, After: 1234567 * time.Microsecond})
		s := status.Convert(err)
		info, _ := s.Details()[0].(*errdetails.ErrorInfo)
		if !errors.Is(err, ErrLimited) || s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), want) ||
			!strings.Contains(s.Message(), "another call may start in 1.23s") || info.GetReason() != strings.ToUpper(v.String()) {
			t.Errorf("%v: %v, %v", v, err, info)
		}
	}
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 1234567 * time.Microsecond: "1.23s", 999999 * time.Microsecond: "1s",
		time.Millisecond: "1ms", 1234567: "1.23ms", 999999: "999.999µs", 1: "1ns", 0: "0s",
	} {
		if got := short(d).String(); got != want {
			t.Errorf("%v is shown as %v, want %v", d, got, want)
		}
	}
}

// The error of a call whose context ends in a backoff has the context's kind, and
// names the attempt that failed before.
func TestInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		cause error
		code  codes.Code
	}{"cancelled": {context.Canceled, codes.Canceled}, "deadline": {context.DeadlineExceeded, codes.DeadlineExceeded}} {
		k := newClocked(t)
		call := k.again(t, 0)
		_ = admit(call)
		try(call, unavailable)
		_, _ = call.Next(call.FailureOf(unavailable, nil, nil))
		call.Pause(time.Second, unavailable)
		call.Ctx = over{call.Ctx, c.cause}
		again, err := call.Resume(unavailable)
		if again || !errors.Is(err, c.cause) || !errors.Is(err, unavailable) || status.Code(err) != c.code ||
			!strings.Contains(err.Error(), "in the backoff after attempt 1: ") {
			t.Errorf("%s: %v, %v", name, again, err)
		}
		if again, err := call.Resume(nil); again || err != nil {
			t.Errorf("%s: %v, %v; want the reply that there is", name, again, err)
		}
		call.Settle(err)
		if got := level(call); got < 1.99 {
			t.Errorf("%s: %v tokens, want the one for the attempt that was not made back", name, got)
		}
		call.Settle(err)
		other := next(call)
		_ = admit(other)
		try(other, unavailable)
		other.Settle(unavailable)
		// Who cancels says nothing about the server; whose time is over does: it failed.
		if open := call.Plan.Breaker.At(k.now) == breaker.Open; open != (c.cause == context.DeadlineExceeded) {
			t.Errorf("%s: breaker open: %v after one more failure", name, open)
		}
	}
}

// over is a context that has ended.
type over struct {
	context.Context
	err error
}

func (o over) Err() error { return o.err }

// An attempt that took as long as the policy's SlowCall is slow; a stream never is.
func TestSlow(t *testing.T) {
	for _, stream := range []bool{false, true} {
		for took, slow := range map[time.Duration]bool{time.Second - 1: false, time.Second: true} {
			k := newClocked(t)
			k.Policy.SlowCall = time.Second
			k.Plan.Recorders = &hooks.Recorders{} // nobody else wants to know when it began
			k.now = time.Minute
			c := k.again(t, 0)
			c.stream = stream
			c.Begin(nil)
			k.now += took
			c.End(nil, Evidence{})
			if c.slow != (slow && !stream) {
				t.Errorf("stream %v, %v: slow %v", stream, took, c.slow)
			}
		}
	}
}

// When an attempt began is known, though no observer asks, wherever something follows
// from how long it takes: that it was slow, a hedge, a stream's age, a wait in vain.
func TestBeganWhereItMatters(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(*Policy)
		left   time.Duration
		stream bool
		want   bool
	}{
		"nothing":     {func(*Policy) {}, 0, false, false},
		"slow calls":  {func(p *Policy) { p.SlowCall = time.Second }, 0, false, true},
		"no hedge":    {func(p *Policy) { p.Hedge.MaxAttempts = 1 }, 0, false, false},
		"hedges":      {func(p *Policy) { p.Hedge.MaxAttempts = 2 }, 0, false, true},
		"stream":      {func(*Policy) {}, 0, true, true},
		"own timeout": {func(p *Policy) { p.AttemptTimeout = time.Second }, 0, false, true},
		"deadline":    {func(*Policy) {}, time.Hour, false, true},
	} {
		k := newClocked(t)
		k.Plan.Recorders = &hooks.Recorders{}
		k.now = time.Minute
		c.set(k.Policy)
		call := k.again(t, c.left)
		call.stream = c.stream
		var a Attempt
		if call.Launch(&a, nil); (a.Began == k.now) != c.want {
			t.Errorf("%s: began %v, at %v", name, a.Began, k.now)
		}
	}
}

// A call has the least of what its deadline and AttemptTimeout leave it.
func TestOwnTime(t *testing.T) {
	for _, c := range []struct{ left, timeout, want time.Duration }{
		{0, 0, 0}, {time.Second, 0, time.Second}, {0, time.Minute, time.Minute},
		{time.Second, time.Minute, time.Second}, {time.Minute, time.Second, time.Second}, {time.Second, time.Second, time.Second},
	} {
		k := newClocked(t)
		k.Policy.AttemptTimeout = c.timeout
		call := k.again(t, c.left)
		if got := call.ownTime(); got != c.want {
			t.Errorf("deadline in %v, AttemptTimeout %v: %v, want %v", c.left, c.timeout, got, c.want)
		}
		if got := call.bounded(); got != (c.want > 0) {
			t.Errorf("deadline in %v, AttemptTimeout %v: bounded %v", c.left, c.timeout, got)
		}
	}
	k := newClocked(t)
	c := k.again(t, time.Second)
	k.now += time.Minute
	if got := c.ownTime(); got != 0 {
		t.Errorf("%v after the deadline, want none", got)
	}
	if got := c.FailureOf(unavailable, nil, nil).Remaining; got != time.Second-time.Minute {
		t.Errorf("%v remain, want %v", got, time.Second-time.Minute)
	}
	if got := k.again(t, 0).FailureOf(unavailable, nil, nil).Remaining; got != failure.Forever {
		t.Errorf("%v remain of no deadline", got)
	}
}

// Calls that ran out of time open the breaker to calls that have twice as long, unless
// the server itself has answered that time ran out.
func TestVainWaits(t *testing.T) {
	expired := status.Error(codes.DeadlineExceeded, "scripted")
	trailer := Evidence{Known: true, Sent: true, Trailer: metadata.Pairs("a", "b")}
	for name, c := range map[string]struct {
		timeout time.Duration // AttemptTimeout
		left    time.Duration // until the caller's deadline
		over    bool          // which is over then
		ev      Evidence
		want    bool
	}{
		"caller's deadline":             {0, 0, true, Evidence{}, true},
		"attempt timeout":               {time.Second, 0, false, Evidence{}, true},
		"the server's own":              {2 * time.Second, 0, false, trailer, false},
		"the server's, at the deadline": {0, 0, true, trailer, true},
		"the server's, before that":     {0, time.Hour, false, trailer, false},
		"nobody's, says an interceptor": {0, 0, false, Evidence{}, false},
	} {
		k := newClocked(t)
		k.Policy.AttemptTimeout = c.timeout
		for range 2 {
			call := k.again(t, c.left)
			_ = admit(call)
			if c.over {
				call.Ctx = over{deadlined{call.Ctx, k.Host.Epoch.Add(k.now + time.Second)}, context.DeadlineExceeded}
			}
			call.Begin(nil)
			k.now += time.Second
			call.End(expired, c.ev)
			call.Settle(expired)
		}
		if got := k.Plan.Breaker.At(k.now); got != breaker.Open {
			t.Fatalf("%s: %v", name, got)
		}
		k.Policy.AttemptTimeout = 0
		if err := admit(k.again(t, 2*time.Second-1)); err == nil {
			t.Errorf("%s: a call of less than twice the time passes", name)
		}
		if err := admit(k.again(t, 2*time.Second)); (err == nil) != c.want {
			t.Errorf("%s: %v for a call of twice the time", name, err)
		}
	}
}

// What grpc-go says of a message is this client's fault; the server's words, which may
// be the same, are not.
func TestLocal(t *testing.T) {
	answered := metadata.Pairs("content-type", "application/grpc")
	for _, c := range []struct {
		code    codes.Code
		message string
		trailer metadata.MD
		want    bool
	}{
		{codes.Internal, "grpc: error while marshaling", nil, true},
		{codes.ResourceExhausted, "grpc: received message larger than max", nil, true},
		{codes.ResourceExhausted, "trying to send message larger than max", nil, true},
		{codes.Unimplemented, "grpc: Decompressor is not installed", nil, true},
		{codes.Unavailable, "grpc: the connection is closing", nil, false},
		{codes.Internal, "the server's own", nil, false},
		{codes.Internal, "grpc: error while marshaling", answered, false},
	} {
		if got := local(status.Error(c.code, c.message), c.trailer); got != c.want {
			t.Errorf("%v %q, trailer %v: %v, want %v", c.code, c.message, c.trailer, got, c.want)
		}
	}
}

// A server's RetryInfo is a delay, even of zero or less; without one there is none.
func TestRetryInfo(t *testing.T) {
	with := func(d time.Duration) error {
		s, err := status.New(codes.Unavailable, "").WithDetails(&errdetails.ErrorInfo{}, &errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	for _, c := range []struct {
		err  error
		want time.Duration
	}{{unavailable, 0}, {errors.New("plain"), 0}, {with(time.Second), time.Second}, {with(0), 1}, {with(-time.Second), 1}} {
		if got := retryInfo(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// What a call teaches an adaptive limit: latency of one attempt that was not cancelled
// and does not fail at once, and overload.
func TestSample(t *testing.T) {
	expired := status.Error(codes.DeadlineExceeded, "")
	for name, c := range map[string]struct {
		err      error
		attempts int
		stream   bool
		gone     error
		want     limit.Sample
	}{
		"success":       {nil, 1, false, nil, limit.Sample{Latency: time.Second}},
		"after a retry": {nil, 2, false, nil, limit.Sample{}},
		"stream":        {nil, 1, true, nil, limit.Sample{}},
		"cancelled":     {status.Error(codes.Canceled, ""), 1, false, context.Canceled, limit.Sample{}},
		"refused":       {unavailable, 1, false, nil, limit.Sample{Overload: true}},
		"out of time":   {expired, 1, false, context.DeadlineExceeded, limit.Sample{Overload: true, Latency: time.Second}},
		"at fault":      {status.Error(codes.NotFound, ""), 1, false, nil, limit.Sample{Latency: time.Second}},
	} {
		k := newClocked(t)
		k.now = time.Minute
		k.Plan.Limit = limit.NewGuard(k.now, limit.Config{MaxConcurrent: 10, Adaptive: true})
		k.Plan.Adaptive = true
		call := k.again(t, 0)
		if err := admit(call); err != nil {
			t.Fatal(err)
		}
		call.stream = c.stream
		k.now += time.Second
		for range c.attempts {
			call.Begin(nil)
			if c.gone != nil {
				call.Ctx = over{call.Ctx, c.gone}
			}
			call.End(c.err, Evidence{})
		}
		if got := call.sample(k.now); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		call.slot.entered = 0 // the limit was not adaptive then
		if got := call.sample(k.now); got.Latency != 0 {
			t.Errorf("%s: %v for a call that entered nobody knows when", name, got.Latency)
		}
		call.slot.entered = k.now - time.Second
		if c.attempts == 1 && c.want.Latency > 0 {
			if got := call.sample(k.now - time.Second); got.Latency != 1 {
				t.Errorf("%s: %v for one that took no time, want what is known to be little", name, got.Latency)
			}
		}
	}
}
