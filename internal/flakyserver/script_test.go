package flakyserver

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	aborted  = Fail(codes.Aborted, "")
	internal = Fail(codes.Internal, "")
)

func TestScriptThenRest(t *testing.T) {
	over(t, func(r *rig) {
		r.Script(hello, aborted, OK(), internal)
		for _, c := range []codes.Code{codes.Aborted, codes.OK, codes.Internal, codes.OK, codes.OK} {
			r.wantSay(c)
		}
		r.Always(hello, internal)
		r.Script(hello, OK(), OK(), OK())
		r.Script(hello, aborted) // in place of the three
		for _, c := range []codes.Code{codes.Aborted, codes.Internal, codes.Internal} {
			r.wantSay(c)
		}
	})
}

func TestOwnScriptBeforeAny(t *testing.T) {
	over(t, func(r *rig) {
		r.Always(Any, internal)
		r.wantSay(codes.Internal)
		r.Script(hello, aborted)
		r.wantSay(codes.Aborted)
		r.wantSay(codes.OK) // it has a plan of its own now
		wantCode(t, r.cc.Invoke(r.ctx, "/x.Y/Z", request(""), request("")), codes.Internal)
	})
}

func TestRandomIsReproducible(t *testing.T) {
	over(t, func(r *rig) {
		run := func(seed uint64) (all []codes.Code) {
			r.Random(hello, seed, Mix{0.2, []Step{aborted, internal}}, Mix{0.3, []Step{Fail(codes.NotFound, "")}})
			for range 300 {
				_, err := r.say()
				all = append(all, status.Code(err))
			}
			return all
		}
		first := run(1)
		if !slices.Equal(first, run(1)) {
			t.Error("the same seed gave another sequence")
		}
		if slices.Equal(first, run(2)) {
			t.Error("another seed gave the same sequence")
		}
		for c, about := range map[codes.Code]int{codes.Aborted: 30, codes.Internal: 30, codes.NotFound: 90, codes.OK: 150} {
			n := 0
			for _, got := range first {
				if got == c {
					n++
				}
			}
			if n < about*2/3 || n > about*3/2 {
				t.Errorf("%v: %d of 300, want about %d", c, n, about)
			}
		}
	})
}

func TestSetDownAndUp(t *testing.T) {
	over(t, func(r *rig) {
		r.Script(hello, aborted)
		r.SetDown(internal)
		r.wantSay(codes.Internal)
		r.SetDown(Reset())
		r.wantSay(codes.Unavailable)
		r.SetUp()
		r.wantSay(codes.Aborted) // the outage used up none of the script
		r.wantSay(codes.OK)
	})
}

func TestOutagesReplaceOneAnother(t *testing.T) {
	over(t, func(r *rig) {
		r.Outages(Outage{0, time.Hour, internal}, Outage{0, time.Hour, aborted})
		r.wantSay(codes.Internal)
		r.Outages(Outage{time.Hour, 2 * time.Hour, internal})
		r.wantSay(codes.OK)
	})
}

func TestOutagesByTime(t *testing.T) {
	bubble(t, func(r *rig) {
		r.Outages(Outage{time.Hour, 2 * time.Hour, internal}, Outage{3 * time.Hour, 4 * time.Hour, aborted})
		for _, c := range []struct {
			at   time.Duration
			want codes.Code
		}{
			{0, codes.OK},
			{time.Hour - 1, codes.OK},
			{time.Hour, codes.Internal},
			{2*time.Hour - 1, codes.Internal},
			{2 * time.Hour, codes.OK},
			{3 * time.Hour, codes.Aborted},
			{4 * time.Hour, codes.OK},
		} {
			time.Sleep(c.at - time.Since(r.start))
			r.wantSay(c.want)
		}
	})
}
