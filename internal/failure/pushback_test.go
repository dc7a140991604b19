package failure

import (
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParsePushback(t *testing.T) {
	stop := Pushback{Stop: true}
	given := func(ms int64) Pushback {
		return Pushback{Given: true, Delay: time.Duration(ms) * time.Millisecond}
	}
	for _, tc := range []struct {
		values []string
		want   Pushback
	}{
		{nil, Pushback{}},
		{[]string{"0"}, given(0)},
		{[]string{"50"}, given(50)},
		{[]string{"0050"}, given(50)},
		{[]string{"2147483647"}, given(math.MaxInt32)},
		{[]string{"2147483648"}, stop},
		{[]string{"9223372036855"}, stop},
		{[]string{"99999999999999999999"}, stop},
		{[]string{"-1"}, stop},
		{[]string{""}, stop},
		{[]string{" 50"}, stop},
		{[]string{"50.0"}, stop},
		{[]string{"50", "50"}, stop},
	} {
		if got := ParsePushback(tc.values); got != tc.want {
			t.Errorf("ParsePushback(%q) = %+v, want %+v", tc.values, got, tc.want)
		}
	}
}

func FuzzParsePushback(f *testing.F) {
	f.Add("50")
	f.Add("-9223372036854775808")
	f.Fuzz(func(t *testing.T, s string) {
		p := ParsePushback([]string{s})
		if p.Given == p.Stop || p.Delay < 0 || p.Delay > math.MaxInt32*time.Millisecond {
			t.Fatalf("ParsePushback(%q) = %+v", s, p)
		}
	})
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := Again; r <= Ambiguous; r++ {
		if name := r.String(); name == "invalid" || seen[name] {
			t.Errorf("reason %d is named %q", r, name)
		} else {
			seen[name] = true
		}
	}
}
