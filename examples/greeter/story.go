package main

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/flakyserver"
)

// act is a part of the story: what attempts meet at the server, and for how
// long.
type act struct {
	name  string
	about string
	lasts time.Duration
	meet  []flakyserver.Mix // rates sum to 1

	bad    []flakyserver.Mix // what attempts meet at badBackend instead …
	badFor time.Duration     // … for so long; 0: it is like the others

	serverStreams, clientStreams []flakyserver.Step // over and over; none: OK
}

// acts are the story of n servers: what one of several does, a single one
// cannot.
func acts(n int) []act {
	if n > 1 {
		return story
	}
	return slices.DeleteFunc(slices.Clone(story), func(a act) bool { return a.badFor > 0 })
}

// streamsAct is the act in which there are streams too.
const streamsAct = "streams"

// backendAct is the act in which one of the backends goes bad.
const backendAct = "backend"

var (
	fine = []flakyserver.Step{
		flakyserver.OK().After(3 * time.Millisecond),
		flakyserver.OK().After(5 * time.Millisecond),
		flakyserver.OK().After(8 * time.Millisecond),
		flakyserver.OK().After(13 * time.Millisecond),
	}
	// In two of these four the server says when to come back.
	shaky = []flakyserver.Step{
		flakyserver.Fail(codes.Unavailable, "restarting"),
		flakyserver.Fail(codes.Unavailable, "leader lost"),
		flakyserver.Fail(codes.Unavailable, "pushback 40 ms").Pushback("40"),
		flakyserver.Fail(codes.ResourceExhausted, "RetryInfo 80 ms").RetryInfo(80 * time.Millisecond),
	}
	gone = []flakyserver.Step{flakyserver.Fail(codes.Unavailable, "down").After(time.Millisecond)}

	cut  = flakyserver.Fail(codes.Unavailable, "restarting").After(5 * time.Millisecond)
	flow = flakyserver.OK().After(5 * time.Millisecond)

	// Attempts come one at a time, so what follows a cut is the next attempt
	// of the same stream.
	cutServerStreams = []flakyserver.Step{
		cut, flow, // before the first message
		cut.AfterReplies(1), flow,
		flow,
		cut.AfterReplies(2), flow,
	}
	cutClientStreams = []flakyserver.Step{
		cut.AfterReceived(3), flow,
		flow,
		cut.AfterReceived(2), flow,
	}
)

var story = []act{
	{name: "healthy", about: "all is well: the first attempt is answered",
		lasts: 3 * time.Second, meet: []flakyserver.Mix{{Rate: 1, Steps: fine}}},
	{name: "faults", about: "one attempt in five fails: retries save nearly every call",
		lasts: 5 * time.Second, meet: []flakyserver.Mix{{Rate: 0.8, Steps: fine}, {Rate: 0.2, Steps: shaky}}},
	{name: "outage", about: "down: the budget drains, the breaker opens, the cache answers",
		lasts: 4 * time.Second, meet: []flakyserver.Mix{{Rate: 1, Steps: gone}}},
	{name: "probes", about: "still down: a probe fails now and then, the cache answers all",
		lasts: 6 * time.Second, meet: []flakyserver.Mix{{Rate: 1, Steps: gone}}},
	{name: "recovery", about: "up again: a probe finds out, and the breaker closes",
		lasts: 5 * time.Second, meet: []flakyserver.Mix{{Rate: 1, Steps: fine}}},
	{name: backendAct, about: "one of three refuses: calls go elsewhere, it is left alone, and back",
		lasts: 6 * time.Second, meet: []flakyserver.Mix{{Rate: 1, Steps: fine}},
		bad: []flakyserver.Mix{{Rate: 1, Steps: gone}}, badFor: 3 * time.Second},
	{name: streamsAct, about: "most of them are cut: retried, resumed or sent again, unseen",
		lasts: 5 * time.Second, meet: []flakyserver.Mix{{Rate: 1, Steps: fine}},
		serverStreams: cutServerStreams, clientStreams: cutClientStreams},
}

// actKey is the trailer in which the server names its act, for a client that
// is another process, and the header in which a client's calls name the act
// that they began in, so that both sides count them for the same one.
const actKey = "greeter-act"

// seed makes the server draw the same faults each time the story is played.
const seed = 7

func aboutAct(name string) string {
	for _, a := range story {
		if a.name == name {
			return a.about
		}
	}
	return ""
}

// length is that of a whole story at the pace.
func length(story []act, pace float64) time.Duration {
	var sum time.Duration
	for _, a := range story {
		sum += a.lasts
	}
	return paced(sum, pace)
}

func paced(d time.Duration, pace float64) time.Duration { return time.Duration(float64(d) / pace) }

// play makes the servers behave as the act says from now on.
func (a act) play(all servers) {
	for i, s := range all {
		meet := a.meet
		if i == badBackend && a.badFor > 0 {
			meet = a.bad
		}
		s.Random(sayHello, seed+uint64(i), a.tagged(meet)...)
	}
	all.inTurn(sayHelloServerStream, a.serverStreams)
	all.inTurn(sayHelloClientStream, a.clientStreams)
}

// repair makes the bad backend like the others.
func (a act) repair(all servers) {
	all[badBackend].Random(sayHello, seed+badBackend, a.tagged(a.meet)...)
}

// tagged are steps that name their act.
func (a act) tagged(meet []flakyserver.Mix) []flakyserver.Mix {
	tagged := slices.Clone(meet)
	for i, m := range tagged {
		steps := slices.Clone(m.Steps)
		for j := range steps {
			steps[j] = steps[j].Trailer(actKey, a.name)
		}
		tagged[i].Steps = steps
	}
	return tagged
}

// playStory plays the story once, or until ctx ends. It calls enter when an act
// begins, and fixed when the bad backend recovers.
func playStory(ctx context.Context, all servers, pace float64, enter func(act string), fixed func()) {
	for _, a := range acts(len(all)) {
		a.play(all)
		enter(a.name)
		if a.badFor > 0 {
			if !wait(ctx, paced(a.badFor, pace)) {
				return
			}
			a.repair(all)
			fixed()
		}
		if !wait(ctx, paced(a.lasts-a.badFor, pace)) {
			return
		}
	}
}

// wait is false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
