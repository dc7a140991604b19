package astratest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// callKey is the metadata by which attempts are known as those of a call.
const callKey = "astratest-call"

// Run plays a scenario with a suite made of the options, in virtual time: give
// it interceptors.WithPolicy, or what config.Load returns. Invalid options, or
// an invalid scenario, fail the test at once.
//
// The calls go through real gRPC, in memory, within a bubble of
// testing/synctest of their own, so Run must not be called within one. Backoffs
// and open times are random, so times differ a little from run to run: assert
// with a margin.
func Run(t *testing.T, s Scenario, opts ...interceptors.Option) *Result {
	t.Helper()
	return run(t, s, func(t *testing.T, rec *Recorder) []grpc.DialOption {
		suite, err := interceptors.New(append(slices.Clone(opts), interceptors.WithObserver(rec))...)
		if err != nil {
			t.Fatalf("astratest: %v", err)
		}
		t.Cleanup(func() { _ = suite.Close() })
		return suite.DialOptions()
	})
}

// Bare is [Run] without a suite: what grpc-go by itself makes of the scenario.
func Bare(t *testing.T, s Scenario) *Result {
	t.Helper()
	return run(t, s, func(*testing.T, *Recorder) []grpc.DialOption { return nil })
}

func run(t *testing.T, s Scenario, dialOptions func(*testing.T, *Recorder) []grpc.DialOption) *Result {
	t.Helper()
	if err := s.validate(); err != nil {
		t.Fatalf("astratest: %v", err)
	}
	s = s.withDefaults()
	r := &Result{Scenario: s}
	synctest.Test(t, func(t *testing.T) {
		rec := &Recorder{}
		backends := StartBackends(t, s.Backends)
		conn := backends.Dial(dialOptions(t, rec)...)
		begin := time.Now()
		s.inject(backends, begin)
		r.Calls = s.call(conn, begin)
		for _, f := range s.Faults {
			f.over(backends)
		}
		synctest.Wait() // servers have ended what callers have left
		r.assign(backends.Attempts(s.Method))
		r.Changes = rec.Changes(s.Method)
		r.begin = begin
	})
	return r
}

// call makes the calls, and returns when all have ended.
func (s Scenario) call(conn *grpc.ClientConn, begin time.Time) []Call {
	calls := make([]Call, s.Calls)
	request, newReply := s.messages()
	var running sync.WaitGroup
	for i := range calls {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * s.Every)))
		running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), s.Deadline)
			defer cancel()
			ctx = metadata.AppendToOutgoingContext(ctx, callKey, strconv.Itoa(i))
			c := Call{Begin: time.Since(begin)}
			c.Err = conn.Invoke(ctx, s.Method, request, newReply())
			c.Took, c.Code = time.Since(begin)-c.Begin, status.Code(c.Err)
			calls[i] = c
		})
	}
	running.Wait()
	return calls
}

// messages returns a request and what makes replies: empty ones of the method's
// own types, if they are linked in.
func (s Scenario) messages() (request proto.Message, newReply func() proto.Message) {
	request, newReply = &emptypb.Empty{}, func() proto.Message { return &emptypb.Empty{} }
	d := s.descriptor()
	if d == nil {
		return request, newReply
	}
	in, inErr := protoregistry.GlobalTypes.FindMessageByName(d.Input().FullName())
	out, outErr := protoregistry.GlobalTypes.FindMessageByName(d.Output().FullName())
	if inErr != nil || outErr != nil {
		return request, newReply
	}
	return in.New().Interface(), func() proto.Message { return out.New().Interface() }
}

func (s Scenario) descriptor() protoreflect.MethodDescriptor {
	name := strings.ReplaceAll(strings.TrimPrefix(s.Method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	d, _ := found.(protoreflect.MethodDescriptor)
	return d
}

// inject has the backends meet the faults in their time.
func (s Scenario) inject(backends Backends, begin time.Time) {
	for i, b := range backends {
		rng := rand.New(rand.NewPCG(s.Seed, uint64(i)))
		b.server.Func(s.Method, func() flakyserver.Step {
			at := time.Since(begin)
			for _, f := range s.Faults {
				if f.concerns(i, at) && (f.Share == 0 || rng.Float64() < f.Share) {
					return f.Step.step
				}
			}
			return flakyserver.OK()
		})
	}
	for _, f := range s.Faults {
		if !f.Refused {
			continue
		}
		for i, b := range backends {
			if !f.of(i) {
				continue
			}
			if f.From == 0 {
				b.Refuse()
			} else {
				time.AfterFunc(f.From, b.Refuse)
			}
			if f.To > 0 {
				time.AfterFunc(f.To, b.Accept)
			}
		}
	}
}

// over ends what a fault has done to backends.
func (f Fault) over(backends Backends) {
	for i, b := range backends {
		if f.Refused && f.of(i) {
			b.Accept()
		}
	}
}

func (f Fault) of(backend int) bool {
	return len(f.Backends) == 0 || slices.Contains(f.Backends, backend)
}

func (f Fault) concerns(backend int, at time.Duration) bool {
	return !f.Refused && f.of(backend) && f.From <= at && (f.To == 0 || at < f.To)
}

// validate returns what is wrong with a scenario, all of it.
func (s Scenario) validate() error {
	var faults []string
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, "scenario "+strconv.Quote(s.Name)+": "+fmt.Sprintf(format, args...))
		}
	}
	check(strings.Count(s.Method, "/") == 2 && strings.HasPrefix(s.Method, "/"), "Method %q is not a full name: want \"/pkg.Service/Method\"", s.Method)
	if d := s.descriptor(); d != nil {
		check(!d.IsStreamingClient() && !d.IsStreamingServer(), "Method %s is a stream: want a unary method; script a Server for streams", s.Method)
	}
	check(s.Backends >= 0, "Backends %d is out of range: want 1 or more", s.Backends)
	check(s.Calls >= 0, "Calls %d is out of range: want 1 or more", s.Calls)
	check(s.Every >= 0, "Every %v is out of range: want more than 0", s.Every)
	check(s.Deadline >= 0, "Deadline %v is out of range: want more than 0", s.Deadline)
	for i, f := range s.Faults {
		check(f.From >= 0, "Faults[%d].From %v is out of range: want 0 or more", i, f.From)
		check(f.To == 0 || f.To > f.From, "Faults[%d].To %v is not after From, %v: want a later time, or 0", i, f.To, f.From)
		check(f.Share >= 0 && f.Share <= 1, "Faults[%d].Share %v is out of range: want from 0 to 1", i, f.Share)
		for _, b := range f.Backends {
			check(b >= 0 && b < max(s.Backends, 1), "Faults[%d].Backends has %d: want indices of the %d backends", i, b, max(s.Backends, 1))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%s", strings.Join(faults, "\n"))
	}
	return nil
}
