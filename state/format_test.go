package state

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
)

var saved = time.Date(2026, 11, 25, 18, 43, 0, 0, time.UTC)

var sample = interceptors.State{
	Breakers: []interceptors.BreakerRecord{
		{Target: "dns:///shop:443", Method: method, Left: 12345678912, Openings: 3},
		{Target: "dns:///ledger:443", Method: "/bank.Ledger/Transfer", Openings: 1, Age: time.Hour},
	},
	Budgets: []interceptors.BudgetRecord{
		{Target: "dns:///shop:443", Ratio: 0.2, MinPerSecond: 1, Burst: 50, Tokens: 3.2},
	},
}

func encoded(t testing.TB, st interceptors.State, at time.Time) []byte {
	t.Helper()
	data, err := encode(st, at)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// restored is decode and what New does with it.
func restored(data []byte, now time.Time) (interceptors.State, error) {
	doc, err := decode(data)
	if err != nil {
		return interceptors.State{}, err
	}
	return doc.state(now)
}

func TestRoundTrip(t *testing.T) {
	got, err := restored(encoded(t, sample, saved), saved)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(sample) {
		t.Errorf("%+v, %v; want %+v", got, err, sample)
	}
	got, err = restored(encoded(t, interceptors.State{}, saved), saved.AddDate(9, 0, 0))
	if err != nil || len(got.Breakers)+len(got.Budgets) != 0 {
		t.Errorf("%+v, %v: an empty state has no age", got, err)
	}
}

// TestBackendsInTheFile: ejected, and drained by hand; files without any have no word
// of them.
func TestBackendsInTheFile(t *testing.T) {
	st := interceptors.State{Backends: []interceptors.BackendRecord{
		{Target: "dns:///shop:443", Backend: "10.0.0.1:443", Left: time.Minute, Openings: 2, Age: time.Second},
		{Target: "dns:///shop:443", Backend: "10.0.0.2:443", Left: time.Hour, Openings: 1, Drained: true},
	}}
	data := encoded(t, st, saved)
	const want = `"backends":[{"target":"dns:///shop:443","backend":"10.0.0.1:443","left":"1m0s","openings":2,"age":"1s"},` +
		`{"target":"dns:///shop:443","backend":"10.0.0.2:443","left":"1h0m0s","openings":1,"age":"0s","drained":true}]`
	if !bytes.Contains(data, []byte(want)) {
		t.Errorf("%s lacks %s", data, want)
	}
	got, err := restored(data, saved.Add(10*time.Second))
	for i := range st.Backends {
		st.Backends[i].Left -= 10 * time.Second
		st.Backends[i].Age += 10 * time.Second
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(st) {
		t.Errorf("%+v, %v; want %+v", got, err, st)
	}
	st.Backends[0].Openings = 0
	if _, err := restored(encoded(t, st, saved), saved); err == nil || !strings.Contains(err.Error(), "backend {Target:dns:///shop:443") {
		t.Errorf("%v of one that was never out", err)
	}
}

// TestFormat: what version 1 looks like. If this must change, so must the
// version.
func TestFormat(t *testing.T) {
	const file = `astra-state 1 sha256 fa33db65e5b9d3d70765c770ede165ed8ecbe5a4e45a0e9498135daccf2f77d4
{"saved":"2026-11-25T18:43:00Z","breakers":[{"target":"dns:///shop:443","method":"/helloworld.Greeter/SayHello","left":"12.345678912s","openings":3,"age":"0s"},{"target":"dns:///ledger:443","method":"/bank.Ledger/Transfer","left":"0s","openings":1,"age":"1h0m0s"}],"budgets":[{"target":"dns:///shop:443","ratio":0.2,"min_per_second":1,"burst":50,"tokens":3.2,"age":"0s"}]}`
	if got := string(encoded(t, sample, saved)); got != file {
		t.Errorf("got\n%s\nwant\n%s", got, file)
	}
	if got, err := restored([]byte(file), saved); err != nil || fmt.Sprint(got) != fmt.Sprint(sample) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTimePasses(t *testing.T) {
	data := encoded(t, sample, saved)
	for _, tc := range []struct {
		after, left, age time.Duration
	}{
		{0, 12345678912, 0},
		{5 * time.Second, 7345678912, 5 * time.Second},
		{time.Minute, 0, time.Minute},
		{interceptors.MaxStateAge, 0, interceptors.MaxStateAge},
		{-time.Second, 12345678912, 0}, // a clock that was set back adds nothing
		{-maxAhead, 12345678912, 0},
	} {
		got, err := restored(data, saved.Add(tc.after))
		if err != nil {
			t.Errorf("after %v: %v", tc.after, err)
			continue
		}
		b, g := got.Breakers[0], got.Budgets[0]
		if b.Left != tc.left || b.Age != tc.age || g.Age != tc.age || got.Breakers[1].Age != time.Hour+tc.age {
			t.Errorf("after %v: %+v", tc.after, got)
		}
	}
	if _, err := restored(data, saved.Add(interceptors.MaxStateAge+1)); !errors.Is(err, errOld) {
		t.Errorf("%v of a file that is too old", err)
	}
	for _, early := range []time.Duration{maxAhead + 1, 24 * time.Hour, math.MaxInt64} {
		if _, err := restored(data, saved.Add(-early)); !errors.Is(err, errAhead) {
			t.Errorf("%v of a file from %v ahead", err, early)
		}
	}
}

func TestEveryTruncation(t *testing.T) {
	data := encoded(t, sample, saved)
	for n := range data {
		if _, err := decode(data[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d passed for a whole", n, len(data))
		}
	}
	for _, more := range []string{"\n", " ", "{}", "\x00", string(data)} {
		if _, err := decode(append(bytes.Clone(data), more...)); err == nil {
			t.Errorf("%.10q after the end passed", more)
		}
	}
}

func TestEveryBitFlip(t *testing.T) {
	data := encoded(t, sample, saved)
	for i := range data {
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			if _, err := decode(flipped); err == nil {
				t.Fatalf("bit %d of byte %d, %q, flipped unseen", bit, i, data[i])
			}
		}
	}
}

// signed gives a body a true header.
func signed(body string) []byte { return append(header([]byte(body)), body...) }

func TestForeignFiles(t *testing.T) {
	data := string(encoded(t, sample, saved))
	for _, tc := range []struct{ name, data, want string }{
		{"empty", "", "not a state file"},
		{"another program's", "#!/bin/sh\necho hello\n", "not a state file"},
		{"binary", strings.Repeat("\x00\xff", 1000), "not a state file"},
		{"a later version", strings.Replace(data, "astra-state 1 ", "astra-state 2 ", 1), `file version "2" is not supported: this program reads 1`},
		{"a long version", "astra-state " + strings.Repeat("9", 1000) + " sha256 x\n", `"99999999999999999999" is not supported: this`},
		{"no JSON", string(signed("hello")), "invalid character"},
		{"JSON of another kind", string(signed("[1]")), "cannot unmarshal"},
		{"no time", string(signed(`{}`)), "field saved is missing"},
		{"a long open time", string(signed(`{"saved":"2026-11-25T18:43:00Z","breakers":[{"openings":1,"left":"24h1s"}]}`)), "want times from 0 to 24h"},
		{"a negative open time", string(signed(`{"saved":"2026-11-25T18:43:00Z","breakers":[{"openings":1,"left":"-1s"}]}`)), "want times from 0"},
		{"no openings", string(signed(`{"saved":"2026-11-25T18:43:00Z","breakers":[{"left":"1s"}]}`)), "openings 1 or more"},
		{"negative tokens", string(signed(`{"saved":"2026-11-25T18:43:00Z","budgets":[{"tokens":-1}]}`)), "a number is out of range"},
		{"a budget from the future", string(signed(`{"saved":"2026-11-25T18:43:00Z","budgets":[{"age":"-1s"}]}`)), "age is out of range"},
		{"huge", "astra-state 1 sha256 " + strings.Repeat("0", maxSize), "larger than"},
	} {
		if _, err := decode([]byte(tc.data)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	// Fields of later programs are no fault.
	if _, err := decode(signed(`{"saved":"2026-11-25T18:43:00Z","limits":[1]}`)); err != nil {
		t.Error(err)
	}
}

// TestSizeIsBounded: what is written can be read again, the most important
// first.
func TestSizeIsBounded(t *testing.T) {
	var st interceptors.State
	for i := range 5000 {
		st.Breakers = append(st.Breakers, interceptors.BreakerRecord{
			Target: strings.Repeat("\x01", 1000), Method: fmt.Sprint(i), Left: time.Duration(i) * time.Second, Openings: 1})
		st.Budgets = append(st.Budgets, interceptors.BudgetRecord{Target: fmt.Sprint(i)})
	}
	data := encoded(t, st, saved)
	got, err := restored(data, saved)
	if err != nil || len(data) > maxSize || len(data) < maxSize*9/10 {
		t.Fatalf("%d bytes: %v", len(data), err)
	}
	if n := len(got.Breakers); n < 100 || got.Breakers[0].Method != "4999" || got.Breakers[n-1].Left < got.Breakers[0].Left/2 {
		t.Fatalf("%d breakers, from %v to %v", n, got.Breakers[0].Left, got.Breakers[n-1].Left)
	}
}

func TestNamesThatAreNoText(t *testing.T) {
	st := interceptors.State{
		Breakers: []interceptors.BreakerRecord{{Target: "\xff", Openings: 1}, {Method: "\xff", Openings: 1}, {Method: "<&>\u2028", Openings: 1}},
		Budgets:  []interceptors.BudgetRecord{{Target: "\xff"}, {Target: "a"}, {Target: "b", Burst: math.Inf(1)}},
	}
	got, err := restored(encoded(t, st, saved), saved)
	if err != nil || len(got.Breakers) != 1 || got.Breakers[0].Method != "<&>\u2028" || len(got.Budgets) != 1 || got.Budgets[0].Target != "a" {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAnyStateComesBack as far as a suite can have it.
func TestAnyStateComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(label string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(interceptors.MaxStateAge)).Draw(t, label))
		}
		var st interceptors.State
		for range rapid.IntRange(0, 5).Draw(t, "breakers") {
			st.Breakers = append(st.Breakers, interceptors.BreakerRecord{
				Target: rapid.String().Draw(t, "target"), Method: rapid.String().Draw(t, "method"),
				Left: duration("left"), Age: duration("age"), Openings: rapid.IntRange(1, math.MaxInt).Draw(t, "openings")})
		}
		for range rapid.IntRange(0, 5).Draw(t, "budgets") {
			number := rapid.Float64Range(0, 1e6)
			st.Budgets = append(st.Budgets, interceptors.BudgetRecord{
				Target: rapid.String().Draw(t, "target"), Ratio: number.Draw(t, "ratio"), MinPerSecond: number.Draw(t, "rate"),
				Burst: number.Draw(t, "burst"), Tokens: number.Draw(t, "tokens"), Age: duration("age")})
		}
		data, err := encode(st, saved)
		if err != nil {
			t.Fatal(err)
		}
		got, err := restored(data, saved)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, b := range st.Breakers {
			counts[fmt.Sprint(b)]++
		}
		for _, b := range got.Breakers {
			counts[fmt.Sprint(b)]--
		}
		for what, n := range counts {
			if n != 0 {
				t.Errorf("%s: %d too few", what, n)
			}
		}
		if fmt.Sprint(got.Budgets) != fmt.Sprint(st.Budgets) {
			t.Errorf("%+v, want %+v", got.Budgets, st.Budgets)
		}
	})
}

// FuzzDecode: whatever a file holds, reading it fails, or yields what is in
// range and can be written and read again.
func FuzzDecode(f *testing.F) {
	data := encoded(f, sample, saved)
	_, body, _ := bytes.Cut(data, []byte("\n"))
	f.Add(data)
	f.Add(body)
	f.Add([]byte("astra-state 1 sha256 x\n"))
	f.Add([]byte(`{"saved":"2026-11-25T18:43:00Z","breakers":[{"left":"1s","openings":1}],"budgets":[{"burst":1e300}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, data := range [][]byte{text, signed(string(text))} { // or the checksum would keep all out
			doc, err := decode(data)
			if err != nil {
				continue
			}
			st, err := doc.state(doc.Saved)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range st.Breakers {
				if b.Left < 0 || b.Left > interceptors.MaxStateAge || b.Age < 0 || b.Age > interceptors.MaxStateAge {
					t.Fatalf("%+v", b)
				}
			}
			for _, b := range st.Budgets {
				if l := b.Level(time.Hour); math.IsNaN(l) || l < 0 || l > b.Burst {
					t.Fatalf("%+v holds %v", b, l)
				}
			}
			again, err := restored(encoded(t, st, saved), saved)
			if err != nil || len(again.Breakers) != len(st.Breakers) || len(again.Budgets) != len(st.Budgets) {
				t.Fatalf("%+v came back as %+v, %v", st, again, err)
			}
		}
	})
}
