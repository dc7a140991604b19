package report

import (
	"slices"
	"testing"

	"github.com/astra-grpc/astra/bench/lab"
)

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{
		{0, 0, "0"}, {-0.001, 2, "0.00"}, {-1.5, 1, "−1.5"}, {1234, 0, "1234"}, {12345, 0, "12\u202f345"},
		{-1234567.89, 1, "−1\u202f234\u202f567.9"}, {0.126, 2, "0.13"},
	} {
		if got := number(c.v, c.digits); got != c.want {
			t.Errorf("number(%v, %d) = %q, want %q", c.v, c.digits, got, c.want)
		}
	}
	for v, want := range map[float64]string{0: "0", 3: "3", 0.1234: "0.123", 12.345: "12.35", 12.3: "12.3", 0.05: "0.05", -40: "−40", 123.45: "123.5", 98765.4: "98\u202f765"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestBeats(t *testing.T) {
	lower, higher := lab.Column{Better: lab.Lower, Digits: 1}, lab.Column{Better: lab.Higher, Digits: 1}
	one, two, never, nothing := lab.Cell{Value: 1}, lab.Cell{Value: 2}, lab.Cell{Value: 9, Text: "> 9"}, lab.Cell{Text: notMeasured}
	for _, c := range []struct {
		what string
		c    lab.Column
		a, b lab.Cell
		want bool
	}{
		{"less, where less is better", lower, one, two, true},
		{"more, where less is better", lower, two, one, false},
		{"more, where more is better", higher, two, one, true},
		{"less, where more is better", higher, one, two, false},
		{"a column that does not judge", lab.Column{}, one, two, false},
		{"a difference that is not shown", lower, lab.Cell{Value: 0.99}, one, false},
		{"any, against never", lower, two, never, true},
		{"never, against any", lower, never, two, false},
		{"never, against never", lower, never, never, false},
		{"what is not measured", lower, nothing, one, false},
		{"against what is not measured", lower, one, nothing, false},
	} {
		if got := beats(c.c, c.a, c.b); got != c.want {
			t.Errorf("%s: beats %v", c.what, got)
		}
	}
}

// TestRival: it is the best peer, never ours, never a baseline, and only of
// cells of ours.
func TestRival(t *testing.T) {
	table := sample().Scenarios[0].Tables[0]
	for _, c := range []struct {
		row, column int
		want        string
	}{{1, 0, "peer"}, {2, 0, "peer"}, {1, 1, "peer"}, {2, 1, ""}, {1, 2, ""}, {3, 0, ""}, {0, 0, ""}} {
		if name, _, _ := rival(table, c.row, c.column); name != c.want {
			t.Errorf("%s, %s: beaten by %q, want %q", table.Rows[c.row].Name, table.Columns[c.column].Name, name, c.want)
		}
	}
	if best(table, 0, 0) || !best(table, 3, 0) || best(table, 1, 0) || !best(table, 2, 1) || best(table, 1, 2) {
		t.Error("the best in a column is marked wrongly")
	}
}

func TestAxisTicks(t *testing.T) {
	for _, c := range []struct {
		low, high    float64
		log, rounded bool
		want         []string
	}{
		{0, 97, false, true, []string{"0", "20", "40", "60", "80", "100"}},
		{-1, 1.2, false, false, []string{"−1", "−0.5", "0", "0.5", "1"}},
		{0, 0.013, false, true, []string{"0", "0.0025", "0.005", "0.0075", "0.01", "0.0125", "0.015"}},
		{5, 5, false, false, []string{"5", "5.2", "5.4", "5.6", "5.8", "6"}},
		{0.8, 20, true, false, []string{"1", "2", "5", "10", "20"}},
		{1, 1e6, true, false, []string{"1", "10", "100", "1000", "10\u202f000", "100\u202f000", "1\u202f000\u202f000"}},
	} {
		var got []string
		for _, v := range newAxis(c.low, c.high, c.log, c.rounded, 0, 100, 6).ticks {
			got = append(got, tick(v))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %q, want %q", c.low, c.high, got, c.want)
		}
	}
	a := newAxis(1, 100, true, false, 0, 100, 6)
	if a.at(1) != 0 || a.at(10) != 50 || a.at(100) != 100 {
		t.Errorf("places on a logarithmic axis: %v, %v, %v", a.at(1), a.at(10), a.at(100))
	}
}

func TestChangedColoursNeedNoMoreThanThereAre(t *testing.T) {
	c := lab.Chart{Series: make([]lab.Series, 10)}
	c.Series[3].Ours, c.Series[5].Ours = true, true
	all := looks(c)
	seen := map[string]bool{}
	for _, l := range all {
		if seen[l.Class] {
			t.Errorf("two series look like %q", l.Class)
		}
		seen[l.Class] = true
	}
	if all[3].Class != "h0 ours" || all[5].Class != "h0 ours dashed" {
		t.Errorf("ours look like %q and %q", all[3].Class, all[5].Class)
	}
}

// TestVerdictOnABusyMachine: what a machine at rest has to keep is a warning on one
// that could not keep the schedule; what is simulated never is.
func TestVerdictOnABusyMachine(t *testing.T) {
	share, times := lab.Gate{Unit: "%", Value: 2, Limit: 1}, lab.Gate{Unit: "×", Value: 2, Limit: 1, Times: true}
	for _, c := range []struct {
		real, busy bool
		gate       lab.Gate
		want       string
	}{
		{true, false, share, "missed"}, {true, true, share, "slow"}, {true, false, times, "slow"},
		{false, false, times, "missed"}, {false, true, share, "missed"}, {true, true, lab.Gate{}, "kept"},
	} {
		s := Scenario{Real: c.real, Result: lab.Result{Busy: c.busy}}
		if got := s.Verdict(c.gate); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
