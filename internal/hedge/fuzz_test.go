package hedge

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
)

// FuzzEvents plays starts, failures with and without pushback, refusals and time in
// any order: no more attempts start than are allowed, none is due in the past of
// the first, and when nothing runs and nothing is due, it is over.
func FuzzEvents(f *testing.F) {
	f.Add([]byte{3, 10, 0, 1, 20, 0, 2, 0, 3, 4, 5, 2, 1, 1})
	f.Add([]byte{9, 0, 0, 0, 0, 2, 7, 255, 1, 1, 3, 2, 2, 2})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b)
		}
		cfg := Config{MaxAttempts: 1 + next()%10, NonFatal: astracodes.Retryable}
		delay := time.Duration(next()) * time.Millisecond
		if delay == 255*time.Millisecond {
			delay = Never
		}
		var (
			now     time.Duration
			s       = New(&cfg, now, delay)
			started = 0
			running = 0
		)
		for steps := 0; len(data) > 0 || steps == 0; steps++ {
			due := s.Due()
			if started == 0 && due != 0 {
				t.Fatalf("the first attempt is due at %v", due)
			}
			switch op := next() % 4; {
			case op == 0 && due <= now || started == 0:
				s.Start(now)
				started++
				running++
			case op == 1:
				now += time.Duration(next()) * time.Millisecond
			case op == 2 && running > 0:
				fail := failure.Failure{Code: []codes.Code{codes.Unavailable, codes.NotFound, codes.ResourceExhausted}[next()%3], Remaining: failure.Forever}
				switch next() % 4 {
				case 0:
					fail.Pushback = failure.ParsePushback([]string{"20"})
				case 1:
					fail.Pushback = failure.ParsePushback([]string{"-1"})
				}
				s.Fail(now, fail)
				running--
			case op == 3 && due <= now:
				s.Refuse(failure.Budget)
			}
			if started > cfg.MaxAttempts {
				t.Fatalf("%d attempts started, want %d at most", started, cfg.MaxAttempts)
			}
			if running == 0 && s.Due() == Never && !s.Over() {
				t.Fatalf("nothing runs, nothing is due, and it is not over: why %v", s.Why())
			}
			if s.Over() && s.Due() != Never {
				t.Fatal("it is over, and another attempt is due")
			}
		}
	})
}
