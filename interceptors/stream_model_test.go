package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
)

// scene is one stream: what its caller does and what its server does, attempt
// by attempt. Numbers of time are milliseconds.
type scene struct {
	client, server bool    // who streams
	turns          [][]act // one an attempt
	window         int     // messages that either side may be ahead of the other
	buffer         int     // BufferBytes
	timeout        bool    // there is an AttemptTimeout

	sends  []int  // a pause before each message
	bad    int    // the message that cannot be encoded; -1: none
	closes int    // a pause before CloseSend; -1: it is forgotten
	starts int    // a pause before receiving; -1: first all is sent
	takes  int    // messages after which the caller goes away; -1: it stays
	header string // who asks for it: sender, receiver, other
	touch  string // Context or Trailer is asked for early, which commits
	cancel int    // when the caller goes away; 0: not so
}

type act struct {
	do string
	n  int
}

const (
	patience   = 10 * time.Minute             // of a caller with whom nothing happens
	perAttempt = 20*ms + 137*time.Microsecond // never at the same time as something else
	unencoded  = "cannot be encoded"
)

// mayHang: the scene is one that only its caller's going ends.
func (sc *scene) mayHang() bool {
	for _, turn := range sc.turns {
		if end := turn[len(turn)-1].do; end == "hang" && !(sc.timeout && len(turn) == 1 && sc.touch == "" && sc.buffer > 1000) {
			return true
		}
	}
	return sc.closes < 0 || sc.client && sc.server && sc.starts < 0
}

func (sc *scene) text(i int) string { return fmt.Sprintf("message %d %s", i, strings.Repeat("-", i*7)) }

// run is a scene that is played.
type run struct {
	*scene
	suite  *interceptors.Suite
	codec  noteCodec
	events events
	where  observe.Endpoint
	actors sync.WaitGroup
	quit   context.CancelFunc

	mu       sync.Mutex
	faults   []string
	fakes    []*fake
	said     []string // by the caller, accepted or not
	accepted int
	heard    []string
	end      error // as RecvMsg returned it
	ended    bool
	closed   bool           // CloseSend was called
	gone     bool           // the caller went
	stuck    bool           // … because nothing happened
	marks    map[string]int // what committed the stream, and to which attempt
	doing    map[string]bool
	finished []error
}

func (r *run) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// open is the streamer.
func (r *run) open(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	f := &fake{run: r, ctx: ctx}
	f.changed = sync.NewCond(&f.mu)
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.ForceCodecV2CallOption:
			f.codec = o.CodecV2
		case *grpc.ForceCodecV2CallOption:
			f.codec = o.CodecV2
		}
	}
	r.mu.Lock()
	r.fakes = append(r.fakes, f)
	f.n = len(r.fakes)
	turn := r.turns[min(f.n, len(r.turns))-1]
	r.mu.Unlock()
	md, _ := metadata.FromOutgoingContext(ctx)
	if got, want := fmt.Sprint(md["grpc-previous-rpc-attempts"]), fmt.Sprintf("[%d]", f.n-1); f.n > 1 && got != want {
		r.fault("attempt %d: says that %s came before", f.n, got)
	}
	if turn[0].do == "refused" {
		f.refused, f.dead, f.released, f.err = true, true, true, status.Error(codes.Unavailable, fmt.Sprint("attempt ", f.n))
		return nil, f.err
	}
	context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.die(status.FromContextError(ctx.Err()).Err(), true)
	})
	r.actors.Go(func() { f.serve(turn) })
	return f, nil
}

// hangs after this time of nothing but waiting.
const hour = time.Hour

// going is the caller's going away.
func (r *run) going(stuck bool) {
	r.mu.Lock()
	r.gone, r.stuck = true, r.stuck || stuck
	r.mu.Unlock()
	r.quit()
}

// during notes that an operation has begun; what it returns, that it has ended.
func (r *run) during(what string) func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doing[what] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.doing, what)
	}
}

// mark notes that something committed the stream to the attempt; 0: to the
// latest.
func (r *run) mark(what string, attempt int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt == 0 {
		attempt = len(r.fakes)
	}
	r.marks[what] = attempt
}

func (r *run) send(stream grpc.ClientStream) {
	m := new(note)
	bytes := 0
	for i, pause := range r.sends {
		time.Sleep(time.Duration(pause) * ms)
		m.text = r.text(i)
		if i == r.bad {
			m.text = unencoded
		}
		r.mu.Lock()
		r.said = append(r.said, m.text)
		r.mu.Unlock()
		ended := r.during("SendMsg")
		err := stream.SendMsg(m)
		ended()
		if errors.Is(err, io.EOF) {
			r.mark("SendMsg's io.EOF", 0)
			return
		}
		if err != nil {
			if i != r.bad {
				r.fault("SendMsg: %v", err)
			}
			return
		}
		r.accepted++
		if i > 0 {
			bytes += 123 // what an entry costs
		}
		if bytes += 5 + len(m.text); bytes > r.buffer && len(r.turns) > 1 {
			r.mark("the buffer's overflow", 0)
		}
	}
	if r.closes >= 0 {
		time.Sleep(time.Duration(r.closes) * ms)
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		ended := r.during("CloseSend")
		if err := stream.CloseSend(); err != nil {
			r.fault("CloseSend: %v", err)
		}
		ended()
	}
	if r.header == "sender" {
		r.askHeader(stream)
	}
}

func (r *run) receive(stream grpc.ClientStream) {
	switch {
	case r.header == "receiver":
		r.askHeader(stream)
	case r.touch == "Context":
		ended := r.during("Context")
		stream.Context()
		ended()
		r.mark("Context", 0)
	case r.touch == "Trailer":
		ended := r.during("Trailer")
		stream.Trailer()
		ended()
		r.mark("Trailer", 0)
	}
	for i := 0; ; i++ {
		if i == r.takes {
			r.going(false)
			return
		}
		var m note
		ended := r.during("RecvMsg")
		err := stream.RecvMsg(&m)
		ended()
		if err != nil {
			r.end, r.ended = err, true
			return
		}
		var index, attempt int
		if _, err := fmt.Sscanf(m.text, "%d of attempt %d", &index, &attempt); err != nil || index != i {
			r.fault("message %d received is %q", i, m.text)
		}
		r.mark(fmt.Sprint("message ", i), attempt)
		r.heard = append(r.heard, m.text)
		if !r.server {
			r.end, r.ended = io.EOF, true
			return
		}
	}
}

func (r *run) askHeader(stream grpc.ClientStream) {
	ended := r.during("Header")
	md, err := stream.Header()
	ended()
	if err != nil {
		r.fault("Header: %v", err)
	}
	if md != nil {
		var attempt int
		if _, err := fmt.Sscan(md["attempt"][0], &attempt); err != nil {
			r.fault("header %v", md)
		}
		r.mark("Header", attempt)
	}
}

// play plays the scene, in a bubble, and returns what was wrong.
func (sc *scene) play(t *testing.T) []string {
	r := &run{scene: sc, marks: map[string]int{}, doing: map[string]bool{}}
	r.suite = newSuite(t, interceptors.WithObserver(inline{&r.events}, ask(func(e observe.Endpoint) { r.where = e })),
		interceptors.WithPolicy(r.policy()))
	var ctx context.Context
	ctx, r.quit = context.WithCancel(context.Background())
	defer r.quit()
	defer time.AfterFunc(patience, func() { r.going(true) }).Stop()
	if sc.cancel > 0 {
		defer time.AfterFunc(time.Duration(sc.cancel)*ms, func() { r.going(false) }).Stop()
	}
	desc := &grpc.StreamDesc{ClientStreams: sc.client, ServerStreams: sc.server}
	onFinish := grpc.OnFinish(func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.finished = append(r.finished, err)
	})
	stream, err := r.suite.StreamClientInterceptor()(ctx, desc, nil, method, r.open, grpc.ForceCodecV2(&r.codec), onFinish)
	if err != nil {
		r.end, r.ended = err, true
	} else {
		r.perform(stream)
	}
	synctest.Wait()
	for _, f := range r.fakes { // before the caller's own context ends
		if f.ctx.Err() == nil && (sc.timeout || !f.released) {
			r.fault("attempt %d: leaked", f.n)
		}
	}
	r.quit()
	r.actors.Wait()
	synctest.Wait()
	if r.check(); len(r.faults) > 0 {
		r.faults = append(r.faults, r.events.story())
	}
	return r.faults
}

// perform lets the actors act, and sees that they do not hang. What they do
// after the end must not hang either.
func (r *run) perform(stream grpc.ClientStream) {
	sent := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var actors sync.WaitGroup
		actors.Go(func() {
			defer close(sent)
			r.send(stream)
		})
		actors.Go(func() {
			if r.starts < 0 {
				<-sent
			}
			time.Sleep(time.Duration(r.starts) * ms)
			r.receive(stream)
		})
		if r.header == "other" {
			actors.Go(func() { r.askHeader(stream) })
		}
		actors.Wait()
		synctest.Wait() // whom the caller left learns of it
		r.askHeader(stream)
		ended := r.during("what comes after the end")
		defer ended()
		_ = stream.CloseSend()
		if err := stream.RecvMsg(new(note)); err == nil && r.ended {
			r.fault("RecvMsg after the end: no error")
		}
		if r.client {
			if err := stream.SendMsg(&note{"late"}); !errors.Is(err, io.EOF) {
				r.fault("SendMsg after the end: %v", err)
			}
		}
		last := r.fakes[len(r.fakes)-1]
		if got, want := fmt.Sprint(stream.Trailer()["attempt"]), fmt.Sprintf("[%d]", last.n); got != want && !last.refused {
			r.fault("trailer of attempt %s, want %s", got, want)
		}
	}()
	select {
	case <-done:
	case <-time.After(hour):
		r.mu.Lock()
		fakes := slices.Clone(r.fakes)
		r.faults = append(r.faults, fmt.Sprint("hangs in ", r.doing))
		r.mu.Unlock()
		for _, f := range fakes {
			f.mu.Lock()
			f.die(status.Error(codes.Aborted, "the scene hangs"), true)
			f.mu.Unlock()
		}
		<-done
	}
}

func (r *run) policy() interceptors.Policy {
	p := interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: len(r.turns), BufferBytes: r.buffer, Backoff: jitter.Backoff{Base: ms, Jitter: jitter.None}},
		Breaker: interceptors.Breaker{Consecutive: 1, OpenFor: 24 * time.Hour, MaxOpenFor: 24 * time.Hour},
		Budget:  interceptors.Budget{MinPerSecond: 1e-9},
	}
	if r.timeout {
		p.AttemptTimeout = perAttempt
	}
	return p
}

// retryable: the attempt died in a way that is retried, if nothing else is
// against it.
func (f *fake) retryable() bool {
	code := status.Code(f.err)
	if f.cut && f.run.timeout {
		code = codes.DeadlineExceeded
	}
	stop := f.trailer != nil && f.trailer["grpc-retry-pushback-ms"][0] == "-1"
	return (code == codes.Unavailable || code == codes.DeadlineExceeded) && !f.headers && !stop
}

// outcome is what the caller must get of the last attempt.
func (f *fake) outcome() error {
	switch {
	case f.cut:
		return status.Error(codes.DeadlineExceeded, "")
	case f.err == nil && !f.run.server && f.replied == 0:
		return status.Error(codes.Internal, "")
	}
	return f.err
}

func (r *run) check() {
	n := len(r.fakes)
	last := r.fakes[n-1]
	own := !r.gone && r.bad < 0 // it ended by itself
	if r.stuck && !r.mayHang() {
		r.fault("stuck until the caller went")
	}
	bytes := 0
	for i, text := range r.said {
		if i > 0 {
			bytes += 123
		}
		bytes += 5 + len(text)
	}
	for _, f := range r.fakes {
		if len(f.sent) > len(r.said) || !slices.Equal(f.sent, r.said[:len(f.sent)]) {
			r.fault("attempt %d: got %q", f.n, f.sent)
		}
		if f.closed && r.client && (!r.closed || len(f.sent) != r.accepted) {
			r.fault("attempt %d: closed after %d of %d messages", f.n, len(f.sent), r.accepted)
		}
		if f != last && !f.retryable() {
			r.fault("attempt %d: retried after %v, headers %v", f.n, f.err, f.headers)
		}
	}
	for what, attempt := range r.marks {
		if attempt != n {
			r.fault("%s was of attempt %d, the last one is %d", what, attempt, n)
		}
	}
	if own && r.touch == "" && bytes <= r.buffer && last.retryable() && n < len(r.turns) {
		r.fault("not retried after attempt %d", n)
	}
	if own {
		want := last.outcome()
		if r.end == io.EOF && want != nil || r.end != io.EOF && status.Code(r.end) != status.Code(want) || !r.ended {
			r.fault("ended with %v, want %v", r.end, want)
		}
		if r.server && !last.cut && len(r.heard) != last.replied {
			r.fault("heard %d of %d replies", len(r.heard), last.replied)
		}
	}
	r.checkBooks(own, last)
	if got := r.suite.ReplayBytes(); got != 0 {
		r.fault("%d bytes are kept for replay", got)
	}
	if got := r.codec.out.Load(); got != 0 {
		r.fault("%d buffers are out", got)
	}
}

// checkBooks: breaker, budget, observers and OnFinish.
func (r *run) checkBooks(own bool, last *fake) {
	var ends, attempts []observe.Event
	for _, e := range r.events.all {
		switch e.Kind {
		case observe.CallEnd:
			ends = append(ends, e)
		case observe.AttemptEnd:
			attempts = append(attempts, e)
		}
	}
	if len(ends) != 1 || len(r.finished) != 1 || len(attempts) != last.n {
		r.fault("%d ends of the call, %d OnFinish, %d of %d attempts", len(ends), len(r.finished), len(attempts), last.n)
		return
	}
	end := ends[0]
	for i, e := range attempts {
		if e.Attempt != i+1 || own && i+1 == last.n && e.Code != end.Code {
			r.fault("end of attempt %d is reported as %+v", i+1, e)
		}
	}
	if end.Attempt != last.n || status.Code(r.finished[0]) != end.Code || own && end.Code != status.Code(last.outcome()) {
		r.fault("end is reported as %+v, OnFinish as %v", end, r.finished[0])
	}
	if b, e := r.events.count(observe.BackoffStart), r.events.count(observe.BackoffEnd); b != e || own && b != last.n-1 {
		r.fault("%d backoffs began, %d ended", b, e)
	}
	tokens := 50 - float64(last.n-1)
	// A header or a message is an answer, and so is a code that does not speak
	// against the server. If the stream was cut short, nobody may have seen it.
	last.mu.Lock()
	answered := last.headers
	last.mu.Unlock()
	earned := min(50, tokens+0.2)
	got, _ := r.where.BudgetTokens()
	switch good := answered || end.Code == codes.OK || end.Code == codes.NotFound; {
	case good && own, end.Code == codes.OK:
		if math.Abs(got-earned) > 1e-3 {
			r.fault("%v budget tokens after an answer, want %v", got, earned)
		}
	case math.Abs(got-tokens) > 1e-3 && (!good || math.Abs(got-earned) > 1e-3):
		r.fault("%v budget tokens, want %v", got, tokens)
	}
	state := observe.BreakerClosed
	if astracodes.Failure.Contains(end.Code) && (!answered || end.Code == codes.Internal) {
		state = observe.BreakerOpen
	}
	if got, _ := r.where.BreakerState(); got != state && !r.gone && r.bad < 0 { // who refused a message may have found the attempt dead as well
		r.fault("the breaker is %v after %v", got, end.Code)
	}
}

var endsOfAttempts = []string{"unavailable", "unavailable", "unavailable", "unavailable", "deadline", "again", "refused", "stop", "notfound", "hang", "ok"}

// drawTurn draws what the server does in an attempt.
func drawTurn(t *rapid.T, sc *scene, last bool) (turn []act) {
	acts := []string{"read", "read", "read", "nap", "header", "drain"}
	if sc.server {
		acts = append(acts, "reply", "reply", "echo")
	}
	end := rapid.SampledFrom(endsOfAttempts).Draw(t, "end")
	if last && rapid.IntRange(0, 3).Draw(t, "fails for good") < 3 {
		end = "ok"
	}
	if end == "refused" {
		return []act{{end, 0}}
	}
	for range rapid.IntRange(0, 3).Draw(t, "acts") {
		turn = append(turn, act{rapid.SampledFrom(acts).Draw(t, "act"), rapid.IntRange(1, 6).Draw(t, "n")})
	}
	if end == "ok" && !last || end == "ok" && rapid.IntRange(0, 7).Draw(t, "to the end") > 0 {
		turn = append(turn, act{"drain", 0})
	}
	if end == "ok" && !sc.server && rapid.IntRange(0, 9).Draw(t, "replies") > 0 {
		turn = append(turn, act{"reply", 1})
	}
	return append(turn, act{end, 0})
}

func drawScene(t *rapid.T) *scene {
	kind := rapid.IntRange(1, 3).Draw(t, "client streams, server streams")
	sc := &scene{client: kind&1 != 0, server: kind&2 != 0, bad: -1, takes: -1}
	rarely := func(what string) bool { return rapid.IntRange(0, 9).Draw(t, what) == 9 }
	pause := rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2, 3})
	n := rapid.IntRange(1, 4).Draw(t, "attempts")
	for i := range n {
		sc.turns = append(sc.turns, drawTurn(t, sc, i == n-1))
	}
	sc.window = rapid.IntRange(1, 3).Draw(t, "window")
	sc.buffer = rapid.SampledFrom([]int{1 << 18, 1 << 18, 1 << 18, 300}).Draw(t, "buffer")
	sc.timeout = rapid.Bool().Draw(t, "attempt timeout")
	messages := 1
	if sc.client {
		messages = rapid.IntRange(0, 8).Draw(t, "messages")
	}
	for range messages {
		sc.sends = append(sc.sends, pause.Draw(t, "before a message"))
	}
	if messages > 0 && rarely("a bad message") {
		sc.bad = rapid.IntRange(0, messages-1).Draw(t, "which")
	}
	sc.closes = pause.Draw(t, "before CloseSend")
	if sc.client && rarely("no CloseSend") {
		sc.closes = -1
	}
	sc.starts = rapid.SampledFrom([]int{0, 0, 0, 1, 5, -1}).Draw(t, "before receiving")
	if sc.server && rarely("leaves") {
		sc.takes = rapid.IntRange(0, 4).Draw(t, "after messages")
	}
	sc.header = rapid.SampledFrom([]string{"", "", "", "sender", "receiver", "other"}).Draw(t, "header")
	if rarely("touch") {
		sc.touch = rapid.SampledFrom([]string{"Context", "Trailer"}).Draw(t, "what")
	}
	if rarely("cancel") {
		sc.cancel = rapid.IntRange(1, 15).Draw(t, "when")
	}
	return sc
}

func (sc *scene) String() string { return fmt.Sprintf("%+v", *sc) }

// TestStreamsAgainstModel: whatever caller and server do, and whichever way
// their doings fall together.
func TestStreamsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for range 10 {
			sc := drawScene(rt)
			var faults []string
			synctest.Test(t, func(t *testing.T) { faults = sc.play(t) })
			if len(faults) > 0 {
				rt.Fatalf("%v\n%s", sc, strings.Join(faults, "\n"))
			}
		}
	})
}

// TestScenesFoundByChance are those that the code once failed in.
func TestScenesFoundByChance(t *testing.T) {
	for name, sc := range map[string]*scene{
		"the header's waiter is the receiver, and must not be who sends the log again to a server that echoes": {
			client: true, server: true, bad: -1, takes: -1, window: 1, buffer: 1 << 18,
			turns: [][]act{{{"read", 4}, {"unavailable", 0}}, {{"echo", 6}, {"drain", 0}, {"ok", 0}}},
			sends: []int{3, 0, 0, 2, 0, 0, 1}, header: "receiver",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				var faults []string
				synctest.Test(t, func(t *testing.T) { faults = sc.play(t) })
				if len(faults) > 0 {
					t.Fatalf("%v\n%s", sc, strings.Join(faults, "\n"))
				}
			}
		})
	}
}
