package verdict

import (
	"testing"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

// A request whose reply has come has run: it is sent again under no policy.
func TestWhatRanIsFinal(t *testing.T) {
	for _, a := range []Attempt{
		{Code: codes.Unavailable, Evidence: true, Sent: true, Message: true},
		{Code: codes.NotFound, Evidence: true, Sent: true, Message: true, Trailer: true},
		{Code: codes.ResourceExhausted, Evidence: true, Sent: true, Header: true, Local: true},
	} {
		a.Failures = astracodes.Failure
		if v := Of(a); !v.Final || v.Fate != Ran || v.May(RepeatAny) {
			t.Errorf("%+v: %+v, repeated %v; want that it ran, and is final", a, v, v.May(RepeatAny))
		}
	}
	if v := Of(Attempt{Code: codes.Unavailable, Failures: astracodes.Failure, Evidence: true, Sent: true, Trailer: true}); v.Final {
		t.Errorf("a server's UNAVAILABLE is final: %+v", v)
	}
}

// One sign of the server is enough to see an answer in a code that does not speak
// against it; without any, it is none.
func TestSignsOfAnAnswer(t *testing.T) {
	base := Attempt{Code: codes.NotFound, Failures: astracodes.Failure, Evidence: true, Sent: true, Stream: true}
	for name, c := range map[string]struct {
		sign func(*Attempt)
		want Weight
	}{
		"none":    {func(*Attempt) {}, Nothing},
		"trailer": {func(a *Attempt) { a.Trailer = true }, Good},
		"header":  {func(a *Attempt) { a.Header = true }, Good},
		"message": {func(a *Attempt) { a.Message = true }, Good},
	} {
		a := base
		c.sign(&a)
		if v := Of(a); v.Breaker != c.want || v.Earns != (c.want == Good) {
			t.Errorf("%s: %+v, want %v", name, v, c.want.name())
		}
	}
}

// Where the caller's time is over, codes of attempts that found no connection are
// no answers, whoever is said to have given them; while it waits they may be.
func TestNoAnswerPastTheDeadline(t *testing.T) {
	own := astracodes.Of(codes.Internal) // a policy that holds UNAVAILABLE against nobody
	a := Attempt{Code: codes.Unavailable, Failures: own, Evidence: true, Sent: true, Trailer: true}
	if v := Of(a); v.Breaker != Good || !v.Earns {
		t.Errorf("while the caller waits: %+v, want an answer", v)
	}
	a.Caller = Expired
	if v := Of(a); v.Breaker != Nothing || v.Earns {
		t.Errorf("past the deadline: %+v, want none", v)
	}
}

// What somebody who knows better says is carried as said, and of two parts that
// contradict one another the first holds; nobody overrules a caller who gave up.
func TestRulingIsCarried(t *testing.T) {
	for r, want := range map[Ruling]struct{ again, stop, final bool }{
		0:            {},
		Again:        {again: true},
		Stop:         {stop: true, final: true},
		Again | Stop: {again: true},
	} {
		a := Attempt{Code: codes.Unavailable, Failures: astracodes.Failure, Evidence: true, Sent: true, Trailer: true, Ruling: r}
		if v := Of(a); v.Again != want.again || v.Stop != want.stop || v.Final != want.final {
			t.Errorf("ruling %b: again %v, stop %v, final %v; want %+v", r, v.Again, v.Stop, v.Final, want)
		}
		a.Caller = Cancelled
		if v := Of(a); v.Again || v.Stop || v.Final {
			t.Errorf("ruling %b on a call that was cancelled: %+v, want none", r, v)
		}
	}
}

// A call that wants to wait for a connection excuses the lack of one, and nothing else.
func TestPatienceExcusesNoFailure(t *testing.T) {
	for name, c := range map[string]struct {
		a    Attempt
		want Weight
	}{
		"no connection":          {Attempt{Evidence: true, Down: true}, Nothing},
		"lost":                   {Attempt{Evidence: true, Sent: true}, Bad},
		"says UNAVAILABLE":       {Attempt{Evidence: true, Sent: true, Trailer: true}, Bad},
		"an invoker without any": {Attempt{}, Bad},
	} {
		c.a.Code, c.a.Failures, c.a.Patient = codes.Unavailable, astracodes.Failure, true
		if v := Of(c.a); v.Breaker != c.want {
			t.Errorf("%s: %v, want %v", name, v.Breaker.name(), c.want.name())
		}
	}
}
