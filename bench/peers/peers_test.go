package peers

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = greeterpb.Greeter_SayHello_FullMethodName

var quick = Tuning{Attempts: 3, Base: time.Millisecond, Max: 2 * time.Millisecond, AttemptTimeout: 10 * time.Second}

// use gives a test a contender's connection to a server.
func use(t *testing.T, c Client, test func(s *flakyserver.Server, call func() error)) {
	t.Helper()
	t.Run(c.Name, func(t *testing.T) {
		t.Parallel() // backoffs are long
		s, err := flakyserver.Start()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		opts, free := c.Options()
		defer free()
		cc, err := s.Dial(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		stub := greeterpb.NewGreeterClient(cc)
		test(s, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			reply, err := stub.SayHello(ctx, &greeterpb.HelloRequest{Name: "Ann"})
			if err == nil && reply.GetMessage() != "Hello Ann" {
				t.Errorf("the answer is %q", reply.GetMessage())
			}
			return err
		})
	})
}

// TestFieldIsFair: everyone's settings and reasons are printed, and everyone who
// says so retries what we retry, as often as we do.
func TestFieldIsFair(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range append(Field(quick), AstraWithoutBreaker(quick)) {
		if seen[c.Name] || c.Config == "" || c.Why == "" || strings.HasPrefix(c.Name, "astra") != c.Ours {
			t.Errorf("%+v: a name that is another's, or no settings, no reason", c.Contender)
		}
		seen[c.Name] = true
		use(t, c, func(s *flakyserver.Server, call func() error) {
			if err := call(); err != nil {
				t.Errorf("%s fails on a server that is well: %v", c.Name, err)
			}
			s.Script(hello, flakyserver.Fail(codes.Unavailable, "x"), flakyserver.Fail(codes.Unavailable, "x"))
			err := call()
			if saved := err == nil; saved == c.Baseline {
				t.Errorf("%s after two failures: %v", c.Name, err)
			}
			if got := s.Stats(hello).Attempts; !c.Baseline && got != 4 {
				t.Errorf("%s made %d attempts of two calls, want 4", c.Name, got)
			}
			if !strings.Contains(c.Name, "tuned") {
				return
			}
			s.Always(hello, flakyserver.Fail(codes.Unavailable, "x"))
			before := s.Stats(hello).Attempts
			_ = call()
			if got := s.Stats(hello).Attempts - before; got != int64(quick.Attempts) && !strings.Contains(c.Name, "+ throttling") {
				t.Errorf("%s made %d attempts of a call that cannot succeed, want %d", c.Name, got, quick.Attempts)
			}
		})
	}
}

// TestRefused: whoever has a breaker is seen to refuse, and nobody else.
func TestRefused(t *testing.T) {
	for _, c := range append(Field(quick), AstraWithoutBreaker(quick)) {
		if strings.Contains(c.Name, "(default)") || strings.Contains(c.Name, "(documented)") {
			continue // their backoffs take long, and the breakers are the same
		}
		breaker := c.Name == AstraTuned || strings.Contains(c.Name, "breaker (") && !c.Ours || strings.HasPrefix(c.Name, "gobreaker") || strings.HasPrefix(c.Name, "aegis")
		use(t, c, func(s *flakyserver.Server, call func() error) {
			s.Always(hello, flakyserver.Fail(codes.Unavailable, "x"))
			refused := false
			for range 200 {
				refused = refused || Refused(call())
			}
			if refused != breaker {
				t.Errorf("%s refuses: %v, want %v", c.Name, refused, breaker)
			}
			if Refused(context.DeadlineExceeded) || Refused(nil) {
				t.Error("what is no refusal is one")
			}
		})
	}
}

// TestTimeouts: whoever is tuned has our timeout for attempts, but for
// grpc-go, which has none.
func TestTimeouts(t *testing.T) {
	brief := quick
	brief.AttemptTimeout = 50 * time.Millisecond
	for _, c := range Field(brief) {
		if !strings.Contains(c.Name, "(tuned)") || strings.HasPrefix(c.Name, "grpc-go") {
			continue
		}
		use(t, c, func(s *flakyserver.Server, call func() error) {
			if err := call(); err != nil {
				t.Fatal(err)
			}
			s.Script(hello, flakyserver.Hang())
			if err := call(); err != nil {
				t.Errorf("%s is not saved from an attempt that hangs: %v", c.Name, err)
			}
		})
	}
}

func TestHedgeField(t *testing.T) {
	for _, c := range HedgeField(5 * time.Millisecond) {
		if c.Config == "" || c.Why == "" {
			t.Errorf("%+v: no settings, no reason", c.Contender)
		}
		use(t, c, func(s *flakyserver.Server, call func() error) {
			for range 150 { // those that learn their delay have learned it
				if err := call(); err != nil {
					t.Fatal(err)
				}
			}
			s.Script(hello, flakyserver.OK().After(2*time.Second))
			begun := time.Now()
			if err := call(); err != nil {
				t.Error(err)
			}
			if hedged := time.Since(begun) < time.Second; hedged == c.Baseline {
				t.Errorf("%s: an answer that comes late took %v", c.Name, time.Since(begun))
			}
		})
	}
}
