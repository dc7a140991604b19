package codes

import (
	"maps"
	"math"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"
)

// anyCode draws canonical codes and, now and then, others.
func anyCode() *rapid.Generator[codes.Code] {
	return rapid.OneOf(
		rapid.Map(rapid.Uint32Range(0, count-1), func(n uint32) codes.Code { return codes.Code(n) }),
		rapid.Map(rapid.Uint32Range(count, 70), func(n uint32) codes.Code { return codes.Code(n) }),
		rapid.Map(rapid.Uint32(), func(n uint32) codes.Code { return codes.Code(n) }),
	)
}

// TestSetAgainstModel plays the same steps to a Set and to a map.
func TestSetAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[codes.Code]bool{}
		put := func(cs []codes.Code) {
			for _, c := range cs {
				if c <= codes.Unauthenticated {
					model[c] = true
				}
			}
		}
		first := rapid.SliceOf(anyCode()).Draw(t, "of")
		s := Of(first...)
		put(first)

		t.Repeat(map[string]func(*rapid.T){
			"with": func(t *rapid.T) {
				cs := rapid.SliceOf(anyCode()).Draw(t, "codes")
				s = s.With(cs...)
				put(cs)
			},
			"without": func(t *rapid.T) {
				cs := rapid.SliceOf(anyCode()).Draw(t, "codes")
				s = s.Without(cs...)
				for _, c := range cs {
					delete(model, c)
				}
			},
			"contains": func(t *rapid.T) {
				if c := anyCode().Draw(t, "code"); s.Contains(c) != model[c] {
					t.Fatalf("Contains(%d) = %v of %v", c, s.Contains(c), s)
				}
			},
			"": func(t *rapid.T) {
				want := slices.Sorted(maps.Keys(model))
				if got := slices.Collect(s.All()); !slices.Equal(got, want) {
					t.Fatalf("All: %v, want %v", got, want)
				}
				if s != Of(want...) {
					t.Fatalf("%v is not what its codes make: %v", s, Of(want...))
				}
				if err := s.Validate(); err != nil {
					t.Fatal(err)
				}
			},
		})
	})
}

func TestAllStops(t *testing.T) {
	for c := range Failure.All() {
		if c != codes.Unknown {
			t.Fatalf("went on to %v", c)
		}
		break
	}
}

func TestCodesBeyondAreDropped(t *testing.T) {
	for _, c := range []codes.Code{17, 31, 32, 33, 64, math.MaxUint32} {
		if s := Of(c); s != 0 {
			t.Errorf("Of(%d) = %#x, want empty", c, uint32(s))
		}
		if s := Set(math.MaxUint32); s.Contains(c) || s.Without(c) != s {
			t.Errorf("%d is taken for an element", c)
		}
	}
}

func TestStrayBits(t *testing.T) {
	s := Retryable | 1<<17 | 1<<31
	if err := s.Validate(); err == nil || err.Error() != "set of codes: bits 0x80020000 are out of range: want codes 0 to 16" {
		t.Errorf("Validate: %v", err)
	}
	if got := slices.Collect(s.All()); !slices.Equal(got, []codes.Code{codes.DeadlineExceeded, codes.Unavailable}) {
		t.Errorf("All: %v", got)
	}
	if got := s.String(); got != Retryable.String() {
		t.Errorf("String: %q", got)
	}
	if text, err := s.MarshalJSON(); err == nil {
		t.Errorf("MarshalJSON: %s, want an error", text)
	}
	for _, s := range []Set{0, every, Retryable, Failure} {
		if err := s.Validate(); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func BenchmarkContains(b *testing.B) {
	b.ReportAllocs()
	s := Failure
	for b.Loop() {
		if !s.Contains(codes.Internal) {
			b.Fatal("Internal is missing")
		}
	}
}
