package text_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/internal/text"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFit(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"/s.S/Get", "/s.S/Get"},
		{"a\xffb", "a\uFFFDb"},
		{"\xff\xfe\xfd", "\uFFFD"},
		{strings.Repeat("x", 16), strings.Repeat("x", 16)},
		{strings.Repeat("x", 17), strings.Repeat("x", 13) + "…"},
		{strings.Repeat("é", 9), strings.Repeat("é", 6) + "…"},
		{strings.Repeat("a\xff", 8), "a\uFFFDa\uFFFDa\uFFFDa…"},
	} {
		if got := text.Fit(tc.in, 16); got != tc.want {
			t.Errorf("Fit(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestFitOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "s"))
		limit := rapid.IntRange(3, 64).Draw(t, "limit")
		got := text.Fit(s, limit)
		if !utf8.ValidString(got) || len(got) > limit {
			t.Fatalf("Fit(%q, %d) = %q", s, limit, got)
		}
		if utf8.ValidString(s) && len(s) <= limit && got != s {
			t.Fatalf("Fit(%q, %d) = %q: changes what fits", s, limit, got)
		}
	})
}
