package real

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const hello = greeterpb.Greeter_SayHello_FullMethodName

// rig is a contender's connection to a server of its own.
type rig struct {
	server *flakyserver.Server
	cc     *grpc.ClientConn
	stub   greeterpb.GreeterClient
	close  func()
}

// newRig dials and connects. opts come inside the contender's interceptors.
func newRig(ctx context.Context, c peers.Client, server []flakyserver.Option, opts ...grpc.DialOption) (*rig, error) {
	s, err := flakyserver.Start(append([]flakyserver.Option{flakyserver.WithLog(0)}, server...)...)
	if err != nil {
		return nil, err
	}
	dial, free := c.Options()
	cc, err := s.Dial(append(dial, opts...)...)
	if err != nil {
		s.Close()
		free()
		return nil, err
	}
	r := &rig{server: s, cc: cc, stub: greeterpb.NewGreeterClient(cc), close: func() {
		_ = cc.Close()
		s.Close()
		free()
	}}
	if err := r.connect(ctx, c.Name); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// connect waits for the connection: that is nobody's business here, and no
// call's either.
func (r *rig) connect(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r.cc.Connect()
	for state := r.cc.GetState(); state != connectivity.Ready; state = r.cc.GetState() {
		if !r.cc.WaitForStateChange(ctx, state) {
			return fmt.Errorf("%s does not connect: %v", name, state)
		}
	}
	return nil
}

// say is a call as package load makes it.
func (r *rig) say(ctx context.Context, n int) load.Outcome {
	_, err := r.stub.SayHello(ctx, &greeterpb.HelloRequest{Name: strconv.Itoa(n)})
	return outcome(err)
}

func outcome(err error) load.Outcome {
	switch {
	case err == nil:
		return load.OK
	case peers.Refused(err):
		return load.Refused
	default:
		return load.Failed
	}
}
