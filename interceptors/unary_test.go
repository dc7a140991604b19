package interceptors_test

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestReplyThatIsATypedNil: a call that fails anyway fails as it does over bare
// grpc-go, which does not look at the reply then.
func TestReplyThatIsATypedNil(t *testing.T) {
	w := overTCP(t)
	w.Always(method, flakyserver.Fail(codes.Unavailable, "scripted"))
	wantCode(t, w.cc.Invoke(within(t), method, &greeterpb.HelloRequest{}, (*greeterpb.HelloReply)(nil)), codes.Unavailable)
	if n := len(w.Attempts(method)); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}

	w = overTCP(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: ms}))
	w.Always(method, flakyserver.Fail(codes.Unavailable, "scripted"))
	wantCode(t, w.cc.Invoke(within(t), method, &greeterpb.HelloRequest{}, (*greeterpb.HelloReply)(nil)), codes.Unavailable)
}
