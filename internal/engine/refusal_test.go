package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestBounded(t *testing.T) {
	long := strings.Repeat("ä", maxErrorBytes)
	detailed, err := status.New(codes.Internal, "short").WithDetails(&errdetails.DebugInfo{Detail: long})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		err  error
		code codes.Code
		same bool
		is   error
	}{
		"none":               {nil, codes.OK, true, nil},
		"a status":           {status.Error(codes.NotFound, "x"), codes.NotFound, true, nil},
		"one as large":       {status.Error(codes.NotFound, strings.Repeat("x", maxErrorBytes)), codes.NotFound, true, nil},
		"a large status":     {status.Error(codes.NotFound, long), codes.NotFound, false, nil},
		"details":            {detailed.Err(), codes.Internal, false, nil},
		"a plain error":      {errors.New(long), codes.Unknown, false, nil},
		"of a context":       {fmt.Errorf("%w: %s", context.DeadlineExceeded, long), codes.DeadlineExceeded, false, context.DeadlineExceeded},
		"interrupted":        {&refusal{status.New(codes.Canceled, long), []error{context.Canceled}}, codes.Canceled, false, context.Canceled},
		"a breaker, wrapped": {fmt.Errorf("%s: %w", long, ErrBreakerOpen), codes.Unknown, false, ErrBreakerOpen},
	} {
		got := Bounded(tc.err)
		if (got == tc.err) != tc.same {
			t.Errorf("%s: the same error: %v, want %v", name, !tc.same, tc.same)
		}
		if got == nil {
			continue
		}
		if CodeOf(got) != tc.code || tc.is != nil && !errors.Is(got, tc.is) {
			t.Errorf("%s: %v, want the code %v, and to be %v", name, CodeOf(got), tc.code, tc.is)
		}
		if text := got.Error(); len(text) > maxErrorBytes+100 || !utf8.ValidString(text) {
			t.Errorf("%s: %d bytes, valid: %v", name, len(text), utf8.ValidString(text))
		}
	}
}

// TestRefusedIsDescribedWhenAsked: code and cause are known without, and all who ask get
// the same.
func TestRefusedIsDescribedWhenAsked(t *testing.T) {
	asked := 0
	var err error = &refused{cause: ErrBreakerOpen, code: codes.Unavailable, method: "/a.B/M", target: "dns:///c", describe: func() description {
		asked++
		return description{reason: "R", what: "open", more: ": soon", facts: map[string]string{"x": "y"}, after: time.Second}
	}}
	if CodeOf(err) != codes.Unavailable || !errors.Is(err, ErrBreakerOpen) || Bounded(err) != err || asked != 0 {
		t.Errorf("%v, described %d times before anybody asked", CodeOf(err), asked)
	}
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			s := status.Convert(err)
			if got := s.Message(); got != `astra: open for /a.B/M of "dns:///c": soon` || len(s.Details()) != 2 {
				t.Errorf("%q, %v", got, s.Details())
			}
		})
	}
	callers.Wait()
	if asked != 1 {
		t.Errorf("described %d times, want 1", asked)
	}
}
