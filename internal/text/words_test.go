package text_test

import (
	"strings"
	"testing"

	"github.com/astra-grpc/astra/internal/text"
)

func TestList(t *testing.T) {
	all := []string{"a", "b", "c"}
	for most, want := range map[int]string{1: "a and 2 more", 2: "a, b and 1 more", 3: "a, b, c", 4: "a, b, c"} {
		if got := text.List(all, most); got != want {
			t.Errorf("List(%v, %d) = %q, want %q", all, most, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"timeout", "retryPolicy", "hedgingPolicy", "retry"}
	for _, tc := range []struct {
		written string
		most    int
		want    string
	}{
		{"timeout", 0, "timeout"},
		{"TIME_OUT", 0, "timeout"},
		{"retry-policy", 0, "retryPolicy"},
		{"timout", 0, ""},
		{"timout", 1, "timeout"},   // left out
		{"timeoutt", 1, "timeout"}, // inserted
		{"timeour", 1, "timeout"},  // changed
		{"tiemout", 1, ""},
		{"tiemout", 2, "timeout"},
		{"retr", 3, "retry"}, // the nearest, not the first within reach
		{"", 3, ""},
		{"", 5, "retry"},
		{strings.Repeat("x", 1<<20), 10, ""},
	} {
		if got := text.Nearest(tc.written, names, tc.most); got != tc.want {
			t.Errorf("Nearest(%.20q, %d) = %q, want %q", tc.written, tc.most, got, tc.want)
		}
	}
	if got := text.Nearest("ab", []string{"aa", "bb"}, 1); got != "aa" {
		t.Errorf("Nearest of two as near = %q, want the first", got)
	}
}
