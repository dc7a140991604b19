package real

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// calls are a hundred a second, for seconds; those that fails says fail.
func calls(seconds int, fails func(at time.Duration) bool) (samples []load.Sample) {
	for n := range seconds * 100 {
		s := load.Sample{At: time.Duration(n) * 10 * time.Millisecond, Outcome: load.OK}
		if fails(s.At) {
			s.Outcome = load.Failed
		}
		samples = append(samples, s)
	}
	return samples
}

func TestBack(t *testing.T) {
	const second = time.Second
	during := func(from, to time.Duration) func(time.Duration) bool {
		return func(at time.Duration) bool { return from <= at && at < to }
	}
	for _, c := range []struct {
		what  string
		fails func(time.Duration) bool
		after time.Duration
		ok    bool
	}{
		{"at once", during(2*second, 4*second), 0, true},
		// One call of 25 may fail.
		{"later", during(2*second, 5*second), second - 10*time.Millisecond, true},
		{"not within what is seen", during(2*second, 9*second), 5*second - 10*time.Millisecond, false},
		{"a good quarter second is not enough", func(at time.Duration) bool {
			return during(2*second, 5*second)(at) && !during(4500*time.Millisecond, 4800*time.Millisecond)(at)
		}, second - 10*time.Millisecond, true},
		{"never quite", func(at time.Duration) bool { return at%(100*time.Millisecond) == 0 }, 5*second - 10*time.Millisecond, false},
	} {
		if after, ok := back(calls(10, c.fails), 4*second); after != c.after || ok != c.ok {
			t.Errorf("%s: after %v, %v; want %v, %v", c.what, after, ok, c.after, c.ok)
		}
	}
	if _, ok := back(nil, 0); ok {
		t.Error("nothing recovers")
	}
}

func TestCells(t *testing.T) {
	came, came2, not := recovered{0.5, true}, recovered{1, true}, recovered{3, false}
	for _, c := range []struct {
		what      string
		got, want lab.Cell
	}{
		{"median", spread{3, 1, 2}.cell(), lab.Cell{Value: 2, Low: 1, High: 3}},
		{"median of four", spread{3, 1, 2, 4}.cell(), lab.Cell{Value: 2.5, Low: 1, High: 4}},
		{"nothing", spread{}.cell(), lab.Cell{Text: "–"}},
		{"typical", typical([]recovered{not, came, came2}), lab.Cell{Value: 1, Low: 0.5, High: 3}},
		{"typically never", typical([]recovered{came, not, not}), lab.Cell{Value: 3, Text: "> 3.0"}},
		{"average", average([]recovered{came, came2}), lab.Cell{Value: 0.75}},
		{"average with one that never came", average([]recovered{came, not}), lab.Cell{Value: 1.75, Text: "> 1.8"}},
		{"worst", worst([]recovered{came2, came}), lab.Cell{Value: 1}},
		{"worst of one that never came", worst([]recovered{came2, not}), lab.Cell{Value: 3, Text: "> 3.0"}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", c.what, c.got, c.want)
		}
	}
}

// bad distinguishes a step that fails from one that does not.
func bad(s flakyserver.Step) bool { return !reflect.DeepEqual(s, flakyserver.OK()) }

func TestDeck(t *testing.T) {
	steps := deck(0.2, 1, 1250)
	if len(steps) != 1300 {
		t.Fatalf("%d steps for 1250", len(steps))
	}
	same, other := deck(0.2, 1, 1250), deck(0.2, 2, 1250)
	differ := 0
	for from := 0; from < len(steps); from += 100 {
		fails := 0
		for i := from; i < from+100; i++ {
			if bad(steps[i]) {
				fails++
			}
			if bad(steps[i]) != bad(same[i]) {
				t.Fatal("the same seed shuffles otherwise")
			}
			if bad(steps[i]) != bad(other[i]) {
				differ++
			}
		}
		if fails != 20 {
			t.Errorf("%d of 100 fail, want 20", fails)
		}
	}
	if differ == 0 || slices.IndexFunc(steps[:20], func(s flakyserver.Step) bool { return !bad(s) }) < 0 {
		t.Error("it is not shuffled")
	}
}

func TestOutcome(t *testing.T) {
	for want, err := range map[load.Outcome]error{
		load.OK: nil, load.Failed: status.Error(codes.Unavailable, "down"), load.Refused: interceptors.ErrBreakerOpen,
	} {
		if got := outcome(err); got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}

func TestLag(t *testing.T) {
	late := func(by time.Duration) load.Sample {
		return load.Sample{At: time.Second, Began: time.Second + by, Ended: time.Hour}
	}
	of := func(most time.Duration) *lab.Result {
		runs := [][][]load.Sample{{{late(time.Millisecond)}}, {{late(most), late(0)}}}
		return lag(&lab.Result{}, runs, func(s load.Sample) []time.Duration { return lags([]load.Sample{s}) })
	}
	if got, want := of(busy).Notes[0], "The generator was late by 1.00 ms in the median, 20.00 ms at p99, 20.0 ms at most, over 3 calls."; got != want || of(busy).Busy {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := of(busy + 1); !got.Busy || !strings.Contains(got.Notes[0], "with care") {
		t.Errorf("a machine that is busy: %q", got.Notes)
	}
}
