// Package rawproxy holds the rows of grpc-proxy, a transparent proxy that forwards
// every call as a stream of raw frames.
package rawproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mwitkow/grpc-proxy/proxy"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/integration/lab"
)

const (
	client  = "grpc-proxy"
	service = "/grpc.testing.TestService/"
	frames  = 10 // of each bidirectional stream
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, client)) }

func TestFailures(t *testing.T) {
	compare(t, "one call in twenty ends UNAVAILABLE", 8*time.Second, 20, func(testing.TB, *lab.Experiment) {})
}

func TestCut(t *testing.T) {
	compare(t, "connection cut every 2 s", 10*time.Second, 0, func(_ testing.TB, x *lab.Experiment) {
		x.Cut(2*time.Second, 200*time.Millisecond)
	})
}

func TestRefuse(t *testing.T) {
	compare(t, "connections refused for .7 s of every 4 s", 10*time.Second, 0, func(t testing.TB, x *lab.Experiment) {
		x.Refuse(t, 4*time.Second, 700*time.Millisecond)
	})
}

// compare calls through the proxy under a fault of what is behind it. One call in
// failing ends UNAVAILABLE.
func compare(t *testing.T, fault string, d time.Duration, failing uint64, begin func(testing.TB, *lab.Experiment)) {
	t.Helper()
	t.Parallel()
	lab.Compare(t, client, fault, d, func(t testing.TB, x *lab.Experiment) func() {
		sides := lab.Both(x, func(s *lab.Side) *side { return newSide(t, s, failing) })
		begin(t, x)
		x.Load(25, func(s *lab.Side, i int) { sides[s].unary(i) })
		x.Load(10, func(s *lab.Side, i int) { sides[s].stream(i) })
		return func() { x.Each(func(s *lab.Side) { sides[s].finish() }) }
	})
}

// side is a backend, a proxy before it whose connection to it is the side's, and a
// bare client of that proxy.
type side struct {
	client           pb.TestServiceClient
	unaries, streams *lab.Record
	backend          *backend
}

func newSide(t testing.TB, s *lab.Side, failing uint64) *side {
	t.Helper()
	b := &backend{TestServiceServer: interop.NewTestServer(), unaries: lab.Failing{OneIn: failing}, streams: lab.Failing{OneIn: failing}, runs: map[string]int{}}
	p := s.Proxy(t, b.serve(t))
	//nolint:staticcheck // WithCodec is what users of grpc-proxy pass
	behind := dial(t, p.Addr, append(s.DialOptions(), grpc.WithCodec(proxy.Codec()))...)
	director := func(ctx context.Context, _ string) (context.Context, *grpc.ClientConn, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		return metadata.NewOutgoingContext(ctx, md.Copy()), behind, nil
	}
	//nolint:staticcheck // as above
	front := grpc.NewServer(grpc.CustomCodec(proxy.Codec()), grpc.UnknownServiceHandler(proxy.TransparentHandler(director)))
	return &side{
		client:  pb.NewTestServiceClient(dial(t, listen(t, front))),
		unaries: s.Record("unary, as a stream of frames", p, service+"UnaryCall"),
		streams: s.Record(fmt.Sprintf("bidirectional stream of %d frames", frames), p, service+"FullDuplexCall"),
		backend: b,
	}
}

func listen(t testing.TB, s *grpc.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func dial(t testing.TB, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func named(call string, i int) (context.Context, context.CancelFunc) {
	ctx := metadata.AppendToOutgoingContext(context.Background(), "call", call+strconv.Itoa(i))
	return context.WithTimeout(ctx, 3*time.Second)
}

func (s *side) unary(i int) {
	ctx, cancel := named("unary ", i)
	defer cancel()
	_ = s.unaries.Do(func() error {
		res, err := s.client.UnaryCall(ctx, &pb.SimpleRequest{ResponseSize: 100})
		if err == nil && len(res.GetPayload().GetBody()) != 100 {
			err = errors.New("another answer came")
		}
		return err
	})
}

func (s *side) stream(i int) {
	ctx, cancel := named("stream ", i)
	defer cancel()
	_ = s.streams.Do(func() error { return pingPong(ctx, s.client) })
}

// pingPong sends frames and receives one answer to each, of its size.
func pingPong(ctx context.Context, c pb.TestServiceClient) error {
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for size := range int32(frames) {
		req := &pb.StreamingOutputCallRequest{ResponseParameters: []*pb.ResponseParameters{{Size: size + 1}}}
		if err := stream.Send(req); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv has the error
			return err
		}
		res, err := stream.Recv()
		if err != nil {
			return err
		}
		if got := len(res.GetPayload().GetBody()); got != int(size)+1 {
			return fmt.Errorf("an answer of %d bytes came, want %d", got, size+1)
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ends with %w, want io.EOF", err)
	}
	return nil
}

func (s *side) finish() {
	s.backend.mu.Lock()
	defer s.backend.mu.Unlock()
	for call, n := range s.backend.runs {
		if call[0] == 'u' {
			s.unaries.Duplicate(n - 1)
		} else {
			s.streams.Duplicate(n - 1)
		}
	}
}

// backend is grpc-go's own server for tests. It counts how often each call ran.
type backend struct {
	pb.TestServiceServer
	unaries, streams lab.Failing

	mu   sync.Mutex
	runs map[string]int // by the call's name
}

func (b *backend) serve(t testing.TB) (addr string) {
	t.Helper()
	s := grpc.NewServer()
	pb.RegisterTestServiceServer(s, b)
	return listen(t, s)
}

// run reports that the call is to run, or how it fails.
func (b *backend) run(ctx context.Context, f *lab.Failing) error {
	if err := f.Next(ctx); err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, call := range md["call"] {
		b.runs[call]++
	}
	return nil
}

func (b *backend) UnaryCall(ctx context.Context, req *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if err := b.run(ctx, &b.unaries); err != nil {
		return nil, err
	}
	return b.TestServiceServer.UnaryCall(ctx, req)
}

func (b *backend) FullDuplexCall(s grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	if err := b.run(s.Context(), &b.streams); err != nil {
		return err
	}
	return b.TestServiceServer.FullDuplexCall(s)
}
