package astraredis

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

var sample = report{version, "pod-1", "abc-7", "dns:///shop:443", method, 3}

// TestFormat: what version 1 looks like to other programs of the fleet, which
// may be older or newer.
func TestFormat(t *testing.T) {
	const text = `1500 {"v":1,"instance":"pod-1","opening":"abc-7","target":"dns:///shop:443","method":"/helloworld.Greeter/SayHello","openings":3}`
	if got := published(1500*time.Millisecond, sample); got != text {
		t.Errorf("%s, want %s", got, text)
	}
	got, left, err := parseNews(strings.Replace(text, "}", `,"more":[]}`, 1))
	if got != sample || left != 1500*time.Millisecond || err != nil {
		t.Errorf("%+v, %v, %v", got, left, err)
	}
}

func FuzzParseNews(f *testing.F) {
	f.Add(published(time.Minute, sample))
	f.Add("1 {}")
	f.Fuzz(func(t *testing.T, text string) {
		r, left, err := parseNews(text)
		if err != nil {
			return
		}
		if left < 1 || left > interceptors.MaxStateAge || r.Openings < 1 || len(r.Target)+len(r.Method) > 2*maxName {
			t.Fatalf("%+v, %v", r, left)
		}
		if member, err := r.member(); err == nil {
			if again, err := parseMember(member); err != nil || again != r {
				t.Fatalf("%+v came back as %+v, %v", r, again, err)
			}
		}
	})
}

// TestHearsay against a plain list of what was said.
func TestHearsay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type said struct {
			report
			until time.Time
		}
		var h peerReports
		var all []said
		now := time.Now()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			if rapid.IntRange(0, 9).Draw(t, "purge") == 0 {
				h.purge(now)
			}
			r := report{version, fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "instance")), fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "opening")),
				"", fmt.Sprint(rapid.IntRange(0, 1).Draw(t, "method")), 1}
			left := time.Duration(rapid.IntRange(1, 10000).Draw(t, "left")) * time.Millisecond

			// The model: an instance's last word on a breaker counts.
			last := slices.IndexFunc(all, func(s said) bool { return s.Instance == r.Instance && s.Method == r.Method })
			known := last >= 0 && all[last].OpeningID == r.OpeningID
			fresh := h.add(now, r, left)
			if known && now.Before(all[last].until) && fresh || !known && !fresh {
				t.Fatalf("%+v: fresh is %v", r, fresh)
			}
			if fresh {
				if last >= 0 {
					all = slices.Delete(all, last, last+1)
				}
				all = append(all, said{r, now.Add(left)})
			}

			var lefts []time.Duration
			for _, s := range all {
				if s.Method == r.Method && now.Before(s.until) {
					lefts = append(lefts, s.until.Sub(now))
				}
			}
			slices.Sort(lefts)
			slices.Reverse(lefts)
			n := rapid.IntRange(1, 5).Draw(t, "quorum")
			_, got, ok := h.agreed(now, r.key(), n)
			if ok != (len(lefts) >= n) || ok && got != lefts[n-1] {
				t.Fatalf("%d agree for %v, %v; want the last of %v", n, got, ok, lefts)
			}
		}
	})
}

func TestHearsayIsBounded(t *testing.T) {
	var h peerReports
	now := time.Now()
	say := func(instance string, left time.Duration) bool {
		return h.add(now, report{version, instance, "e", "", instance, 1}, left)
	}
	for i := range maxReports {
		if !say(fmt.Sprint(i), time.Duration(1+i)*time.Second) {
			t.Fatalf("the %dth was refused", i)
		}
	}
	if say("one more", time.Minute) {
		t.Fatal("there is no bound")
	}
	now = now.Add(time.Second)
	if !say("one more", time.Minute) || say("and another", time.Minute) {
		t.Fatal("what has expired takes up room, or more than that is given")
	}
	h.purge(now.Add(math.MaxInt64))
	if len(h.breakers) != 0 || h.size != 0 {
		t.Fatalf("%d and %d are left", len(h.breakers), h.size)
	}
}

// TestOwnIsBounded: what is to be reported, while Redis is away.
func TestOwnIsBounded(t *testing.T) {
	s := newStore(nil, settings{instance: "x"})
	change := interceptors.Change{From: observe.BreakerClosed, To: observe.BreakerOpen, Left: time.Minute, Openings: 1}
	for i := range 2 * maxOwn {
		change.Method = fmt.Sprint(i)
		s.Changed(change)
	}
	change.Method = "0"
	s.Changed(change) // again
	if n := len(s.own); n != maxOwn || s.own[key{"", "0"}].OpeningID != s.incarnation+fmt.Sprint("-", maxOwn+1) {
		t.Errorf("%d, and %+v", n, s.own[key{"", "0"}])
	}
	s = newStore(nil, settings{instance: "x"})
	for _, c := range []interceptors.Change{
		{To: observe.BreakerHalfOpen}, {To: observe.BreakerClosed}, {To: observe.BreakerOpen, Left: time.Minute, Remote: true},
	} {
		s.Changed(c)
	}
	if len(s.own) != 0 || len(s.wake) != 0 {
		t.Errorf("%+v is to be reported", s.own)
	}
	s.Changed(interceptors.Change{To: observe.BreakerOpen})
	if o, _, ok := s.unsent(false); ok || len(s.own) != 0 {
		t.Errorf("%+v has expired", o)
	}
}

// TestNamesTooLong are not reported, and hold nothing up. A suite shortens long
// names, so they come from nowhere but a caller of the store.
func TestNamesTooLong(t *testing.T) {
	s := startRedis(t)
	a := s.join(t)
	for _, name := range []string{"/x.Y/" + strings.Repeat("z", maxName), "/x.Y/" + strings.Repeat("\x01", maxName-5)} {
		a.store.Changed(interceptors.Change{Method: name, From: observe.BreakerClosed, To: observe.BreakerOpen, Left: time.Minute, Openings: 1})
		a.await(t, "rejected", 1)
	}
	for range policy.Breaker.Consecutive {
		_ = a.callMethod("/x.Y/"+strings.Repeat("z", maxName), down)
	}
	a.await(t, "sent", 1)
	a.trip(t)
	a.await(t, "sent", 1)
}
