package codes

import (
	"fmt"
	"iter"
	"math/bits"

	"google.golang.org/grpc/codes"
)

// count is the number of canonical codes, 0 (OK) to 16 (UNAUTHENTICATED).
const count = 17

// Set is a set of the 17 canonical status codes: bit c stands for code c. The
// zero value is empty. It is a plain value: compare with ==, copy freely, use
// from any goroutine.
//
// No method sets a bit beyond 16, but a conversion can. Such a bit stands for
// no code: everything except == and [Set.Validate] ignores it.
type Set uint32

// Of returns the set of cs. Codes beyond 16 are dropped: no set can hold them.
func Of(cs ...codes.Code) Set {
	return Set(0).With(cs...)
}

// Contains reports whether c is in s. It is false for codes beyond 16.
func (s Set) Contains(c codes.Code) bool {
	return c < count && s>>c&1 == 1
}

// With returns s and cs together. Codes beyond 16 are dropped.
func (s Set) With(cs ...codes.Code) Set {
	for _, c := range cs {
		if c < count {
			s |= 1 << c
		}
	}
	return s
}

// Without returns s less cs. Codes beyond 16 change nothing.
func (s Set) Without(cs ...codes.Code) Set {
	for _, c := range cs {
		if c < count {
			s &^= 1 << c
		}
	}
	return s
}

// All yields the codes of s in the order of their numbers.
func (s Set) All() iter.Seq[codes.Code] {
	return func(yield func(codes.Code) bool) {
		for rest := uint32(s & every); rest != 0; rest &= rest - 1 {
			if !yield(codes.Code(bits.TrailingZeros32(rest))) {
				return
			}
		}
	}
}

// Validate returns an error if s has bits beyond 16, which only a conversion
// from a number can have set, and nil otherwise. The empty set is valid.
func (s Set) Validate() error {
	if stray := s &^ every; stray != 0 {
		return fmt.Errorf("set of codes: bits %#x are out of range: want codes 0 to %d", uint32(stray), count-1)
	}
	return nil
}

const every Set = 1<<count - 1
