package interceptors_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
)

// The methods of a service whose descriptor this program has.
const (
	pureGet  = "/astra.test.Store/Get"  // NO_SIDE_EFFECTS
	purePut  = "/astra.test.Store/Put"  // IDEMPOTENT
	sideEdit = "/astra.test.Store/Edit" // says nothing
	unknown  = "/astra.test.Other/Get"  // of which there is no descriptor
)

var describeStore = sync.OnceValue(func() error {
	method := func(name string, level descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: proto.String(".google.protobuf.StringValue"), OutputType: proto.String(".google.protobuf.StringValue"),
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: &level},
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("astra/test/store.proto"), Package: proto.String("astra.test"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/wrappers.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Store"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Get", descriptorpb.MethodOptions_NO_SIDE_EFFECTS),
			method("Put", descriptorpb.MethodOptions_IDEMPOTENT),
			method("Edit", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN),
		}}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	return protoregistry.GlobalFiles.RegisterFile(file)
})

// tryMethod makes a call that fails each time, and returns the attempts made.
func tryMethod(t *testing.T, s *interceptors.Suite, method string, c codes.Code, opts ...grpc.CallOption) int {
	t.Helper()
	sc := play(failAfter(ms, c, nil))
	err := s.UnaryClientInterceptor()(t.Context(), method, wrapperspb.String("q"), new(wrapperspb.StringValue), nil, sc.invoke, opts...)
	wantCode(t, err, c)
	return sc.attempts()
}

// TestWhichMethodsAreHedged: those declared idempotent, and those named exactly.
func TestWhichMethodsAreHedged(t *testing.T) {
	if err := describeStore(); err != nil {
		t.Fatal(err)
	}
	hedge := interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}}
	wide, service := interceptors.WithPolicy(hedge), interceptors.WithMethodPolicy("/astra.test.Store/*", hedge)
	exact := func(method string) interceptors.Option { return interceptors.WithMethodPolicy(method, hedge) }
	for _, tc := range []struct {
		name     string
		policy   interceptors.Option
		method   string
		opts     []grpc.CallOption
		attempts int
		warned   bool
	}{
		{"all, NO_SIDE_EFFECTS", wide, pureGet, nil, 2, false},
		{"all, IDEMPOTENT", wide, purePut, nil, 2, false},
		{"all, undeclared", wide, sideEdit, nil, 1, true},
		{"all, unknown", wide, unknown, nil, 1, true},
		{"all, no method's name", wide, "nonsense", nil, 1, true},
		{"service, NO_SIDE_EFFECTS", service, pureGet, nil, 2, false},
		{"service, undeclared", service, sideEdit, nil, 1, true},
		{"another's service", service, unknown, nil, 3, false}, // the default policy
		{"named, undeclared", exact(sideEdit), sideEdit, nil, 2, false},
		{"named, unknown", exact(unknown), unknown, nil, 2, false},
		{"not for this call", exact(sideEdit), sideEdit, []grpc.CallOption{interceptors.NoRetry()}, 1, false},
		{"all, undeclared, not for this call", wide, sideEdit, []grpc.CallOption{interceptors.NoRetry()}, 1, true},
		{"for this call", interceptors.WithPolicy(interceptors.Policy{}), sideEdit, []grpc.CallOption{interceptors.WithCallPolicy(hedge)}, 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				s := newSuite(t, tc.policy, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				for range 2 {
					if n := tryMethod(t, s, tc.method, codes.Unavailable, tc.opts...); n != tc.attempts {
						t.Errorf("%d attempts, want %d", n, tc.attempts)
					}
				}
				warnings := strings.Count(log.String(), "idempotent") + strings.Count(log.String(), "IDEMPOTENT")
				if tc.warned != (warnings == 1) || !tc.warned && warnings > 0 || tc.warned && !strings.Contains(log.String(), "method="+tc.method) {
					t.Errorf("warned: %q, want %v, once, with the method", log.String(), tc.warned)
				}
			})
		})
	}
}

// TestReloadWarnsOfUnhedgedMethods: of those in use, and once.
func TestReloadWarnsOfUnhedgedMethods(t *testing.T) {
	if err := describeStore(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, warnings))))
		tryMethod(t, s, sideEdit, codes.NotFound)
		tryMethod(t, s, pureGet, codes.NotFound)
		for range 2 {
			if err := s.Reload(interceptors.WithPolicy(interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}})); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), sideEdit) {
			t.Errorf("logged %q, want one line, of %s", log.String(), sideEdit)
		}
		if n := tryMethod(t, s, pureGet, codes.Unavailable); n != 2 {
			t.Errorf("%d attempts after the reload, want 2", n)
		}
	})
}

// TestIdempotentCodes are retried where the method is declared idempotent.
func TestIdempotentCodes(t *testing.T) {
	if err := describeStore(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		policy := interceptors.Policy{Retry: interceptors.Retry{IdempotentCodes: astracodes.RetryableIdempotent}}
		s, plain := newSuite(t, interceptors.WithPolicy(policy)), newSuite(t)
		for _, tc := range []struct {
			suite    *interceptors.Suite
			method   string
			code     codes.Code
			opts     []grpc.CallOption
			attempts int
		}{
			{s, pureGet, codes.Internal, nil, 3},
			{s, purePut, codes.Unknown, nil, 3},
			{s, pureGet, codes.Unavailable, nil, 3},
			{s, pureGet, codes.NotFound, nil, 1},
			{s, sideEdit, codes.Internal, nil, 1},
			{s, sideEdit, codes.Unavailable, nil, 3},
			{s, unknown, codes.Internal, nil, 1},
			{s, pureGet, codes.Internal, []grpc.CallOption{interceptors.NoRetry()}, 1},
			{plain, pureGet, codes.Internal, nil, 1},
			{plain, pureGet, codes.Internal, []grpc.CallOption{interceptors.WithCallPolicy(policy)}, 3},
			{plain, sideEdit, codes.Internal, []grpc.CallOption{interceptors.WithCallPolicy(policy)}, 1},
		} {
			if n := tryMethod(t, tc.suite, tc.method, tc.code, tc.opts...); n != tc.attempts {
				t.Errorf("%s, %v: %d attempts, want %d", tc.method, tc.code, n, tc.attempts)
			}
		}
	})
}
