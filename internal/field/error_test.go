package field

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{OutOfRange("A.N", 101, "the default", "from 1 to %d", 100), "A.N: 101 is out of range: want from 1 to 100, or 0 for the default"},
		{OutOfRange("Max", time.Duration(0), "8s", ">= %v, which is %v", Ref("Base"), 10*time.Second), "Max: 0, which is 8s, is out of range: want >= Base, which is 10s"},
		{OutOfRange("A", 2, "", "0 beside %v", Ref("B.C")), "A: 2 is out of range: want 0 beside C"},
		{New("A.B", nil, "has no effect: %v is 1", Ref("A.N")), "A.B: has no effect: N is 1"},
		{Within(New("A", time.Second, "is longer than %v", Ref("B")), "policy *", "In."), "policy *: In.A: 1s is longer than B"},
		{&Error{Field: "J", Value: "x", Problem: "is unknown", Want: "y"}, "J: x is unknown: want y"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestNaming: another name for a field takes the place of Go's, in the copy
// only, and Depends has its path still.
func TestNaming(t *testing.T) {
	e := Within(OutOfRange("Max", time.Second, "", "from %v to %v", Ref("Base"), Ref("Top")), "", "Backoff.")
	named := e.Naming(strings.ToLower)
	if want := "from backoff.base to backoff.top"; named.Want != want {
		t.Errorf("named: want %q, is %q", want, named.Want)
	}
	if want := "from Base to Top"; e.Want != want {
		t.Errorf("the original: want %q, is %q", want, e.Want)
	}
	for _, d := range [][]string{e.Depends, named.Depends} {
		if want := []string{"Backoff.Base", "Backoff.Top"}; !slices.Equal(d, want) {
			t.Errorf("depends on %q, want %q", d, want)
		}
	}
	if literal := (&Error{Field: "A", Problem: "is odd", Want: "B"}); literal.Naming(strings.ToLower).Error() != literal.Error() {
		t.Error("an error without references has changed")
	}
}

func TestAll(t *testing.T) {
	a, b := New("A", nil, "is odd"), New("B", nil, "is odd")
	if got := All(errors.Join(a, errors.New("another"), errors.Join(b))); !slices.Equal(got, []*Error{a, b}) {
		t.Error(got)
	}
	if got := All(nil); got != nil {
		t.Error(got)
	}
}
