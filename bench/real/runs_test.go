package real

import (
	"slices"
	"testing"
	"time"

	"github.com/astra-grpc/astra/bench/peers"
)

// The runs are the experiments' own, but short: what they count must be right
// even on a machine that is busy.

func find(t *testing.T, all []peers.Client, name string) peers.Client {
	t.Helper()
	i := slices.IndexFunc(all, func(c peers.Client) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no contender %q", name)
	}
	return all[i]
}

func TestFailPartly(t *testing.T) {
	field := peers.Field(stressed)
	for name, want := range map[string]float64{"no policy": 1, "go-grpc-middleware retry (tuned)": 3} {
		run, err := failPartly(t.Context(), find(t, field, name), 1, 1, 300*time.Millisecond, 500*time.Millisecond)
		if err != nil || run.success != 0 || run.attempts < want*0.5 || run.attempts > want*1.5 {
			t.Errorf("%s at 100 %% errors: %v, success %v, %v attempts per call; want 0, about %v", name, err, run.success, run.attempts, want)
		}
	}
	run, err := failPartly(t.Context(), find(t, field, "no policy"), 0.5, 1, 300*time.Millisecond, 500*time.Millisecond)
	if err != nil || run.success < 0.3 || run.success > 0.7 {
		t.Errorf("at 50 %% errors: %v, success %v", err, run.success)
	}
}

func TestGoDown(t *testing.T) {
	field := peers.Field(stressed)
	run, _, err := goDown(t.Context(), find(t, field, peers.AstraTuned), time.Second, 500*time.Millisecond)
	if err != nil || !run.opens || run.refused == 0 || run.took == 0 || run.attempts == 0 || len(run.lags) == 0 {
		t.Errorf("with a breaker: %v, %+v", err, run)
	}
	run, _, err = goDown(t.Context(), find(t, field, "no policy"), 300*time.Millisecond, 500*time.Millisecond)
	if err != nil || run.opens || run.refused != 0 || run.attempts < 0.5 || run.attempts > 1.5 {
		t.Errorf("without: %v, %+v", err, run)
	}
}

func TestStallOnce(t *testing.T) {
	run, _, err := stallOnce(t.Context(), peers.NoPolicy(), time.Second, 500*time.Millisecond)
	if err != nil || run.lost < 0.3 || run.wasted < 0.3 || len(run.goodput) == 0 {
		t.Errorf("%v, %+v", err, run)
	}
}

func TestStraggle(t *testing.T) {
	field := peers.HedgeField(hedgeDelay)
	slow := tailLab{"all slow", 200, 1, 0}
	run, err := straggle(t.Context(), field[0], slow, 1, time.Second)
	if err != nil || run.extra != 0 || run.failed != 0 || run.wrong != 0 || run.twice != 0 || run.ms[0] < 20 {
		t.Errorf("no policy: %v, %+v", err, run)
	}
	run, err = straggle(t.Context(), find(t, field, peers.AstraHedge), slow, 1, time.Second)
	if err != nil || run.extra == 0 || run.failed != 0 || run.wrong != 0 || run.twice != 0 {
		t.Errorf("astra: %v, %+v", err, run)
	}
	run, err = straggle(t.Context(), field[0], tailLab{"errors", 200, 0, 0.5}, 1, time.Second)
	if err != nil || run.failed < 0.2 || run.failed > 0.8 {
		t.Errorf("errors: %v, %+v", err, run)
	}
}

// TestGoBad: a backend that refuses half of the calls of a bare connection is left
// alone by one that balances load.
func TestGoBad(t *testing.T) {
	field, lasts := peers.BackendField(peers.BackendTuning), spell{time.Second, 0}
	run, _, err := goBad(t.Context(), find(t, field, peers.BareRoundRobin), 2, backendFaults[1], lasts)
	if err != nil || run.success < 0.3 || run.success > 0.7 || run.attempts < 0.8 || run.attempts > 1.2 || run.late < 0.3 {
		t.Errorf("bare: %v, %+v", err, run)
	}
	run, _, err = goBad(t.Context(), find(t, field, peers.AstraBalanced), 2, backendFaults[1], lasts)
	if err != nil || run.success < 0.9 || run.late > 0.2 {
		t.Errorf("balanced: %v, %+v", err, run)
	}
}

func TestSettled(t *testing.T) {
	var looks []look
	bad, all := int64(0), int64(0)
	for at := time.Duration(0); at <= 10*time.Second; at += lookEvery { // none from 3 s until 6 s
		looks = append(looks, look{at, bad, all})
		all += 10
		if at < 3*time.Second || at >= 6*time.Second {
			bad += 5
		}
	}
	few := func(share float64) bool { return share < 0.25 }
	fair := func(share float64) bool { return share >= 0.25 }
	if got := settled(looks, 2*time.Second, 6*time.Second, few); !got.ok || got.seconds < 0.5 || got.seconds > 0.6 {
		t.Errorf("left alone: %+v", got) // when of the second to come more than half is without
	}
	if got := settled(looks, 5*time.Second, 10*time.Second, fair); !got.ok || got.seconds < 0.45 || got.seconds > 0.55 {
		t.Errorf("back: %+v", got)
	}
	if got := settled(looks, 7*time.Second, 10*time.Second, few); got.ok {
		t.Errorf("it is left alone: %+v", got)
	}
}
