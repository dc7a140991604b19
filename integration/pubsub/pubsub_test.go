// Package pubsub holds the rows of Cloud Pub/Sub's client and its fake.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/integration/lab"
)

const (
	client  = "Pub/Sub"
	pull    = "/google.pubsub.v1.Subscriber/StreamingPull"
	publish = "/google.pubsub.v1.Publisher/Publish"
	project = "projects/p/"
	unheard = project + "topics/unheard" // has no subscription
	own     = "own "                     // begins what the client publishes
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, client)) }

// TestStreamsEnd: streams "always close with a non-OK status" by design, and the
// client opens them again.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	lab.Compare(t, client, "streams end UNAVAILABLE after 3 s, by design", 10*time.Second, func(t testing.TB, x *lab.Experiment) func() {
		return receive(t, x, 3*time.Second, 10, 100*time.Millisecond)
	})
}

// TestQuiet: most streams end before a message came.
func TestQuiet(t *testing.T) {
	t.Parallel()
	lab.Compare(t, client, "quiet subscriptions, streams end UNAVAILABLE after 2 s", 14*time.Second, func(t testing.TB, x *lab.Experiment) func() {
		return receive(t, x, 2*time.Second, 20, 400*time.Millisecond)
	})
}

func TestCut(t *testing.T) {
	t.Parallel()
	lab.Compare(t, client, "connection cut every 3 s", 10*time.Second, func(t testing.TB, x *lab.Experiment) func() {
		finish := receive(t, x, time.Hour, 10, 100*time.Millisecond)
		x.Cut(3*time.Second, 200*time.Millisecond)
		return finish
	})
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	lab.Compare(t, client, "connections refused for 2 s of every 6 s", 11*time.Second, func(t testing.TB, x *lab.Experiment) func() {
		finish := receive(t, x, time.Hour, 10, 100*time.Millisecond)
		x.Refuse(t, 6*time.Second, 2*time.Second)
		return finish
	})
}

// side is a client of one side, with a fake server of its own.
type side struct {
	fake              *pstest.Server
	client            *pubsub.Client
	publisher         *pubsub.Publisher
	stop              context.CancelFunc
	done              sync.WaitGroup
	received, publish *lab.Record

	mu        sync.Mutex
	published map[string]time.Time // by payload
	seen      map[string]int
}

// receive publishes a message every period, to the subscriptions in turn, and
// receives them. Streams live for life.
func receive(t testing.TB, x *lab.Experiment, life time.Duration, subscriptions int, period time.Duration) (finish func()) {
	t.Helper()
	sides := lab.Both(x, func(s *lab.Side) *side { return newSide(t, s, life, subscriptions) })
	x.Every(period, func(i int) {
		x.Each(func(s *lab.Side) { x.Go(func() { sides[s].send(i, subscriptions) }) })
	})
	return func() {
		lab.Await(8*time.Second, func() bool { return sides[x.Bare].complete() && sides[x.Astra].complete() })
		x.Each(func(s *lab.Side) { sides[s].finish() })
	}
}

func newSide(t testing.TB, s *lab.Side, life time.Duration, subscriptions int) *side {
	t.Helper()
	ours := &side{published: map[string]time.Time{}, seen: map[string]int{}}
	p := s.Proxy(t, ours.serve(t, life))
	ours.received = s.Record(fmt.Sprintf("StreamingPull: messages to %d subscriptions", subscriptions), p, pull).Repeats() // delivery is at least once
	ours.publish = s.Record("Publish", p, publish).Repeats()
	opts := []option.ClientOption{
		option.WithEndpoint(p.Addr), option.WithoutAuthentication(), option.WithGRPCConnectionPool(1),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	for _, o := range s.DialOptions() {
		opts = append(opts, option.WithGRPCDialOption(o))
	}
	c, err := pubsub.NewClient(t.Context(), "p", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ours.client = c
	ctx, stop := context.WithCancel(context.Background())
	ours.stop = stop
	for i := range subscriptions {
		ours.subscribe(ctx, t, i)
	}
	if _, err := ours.fake.GServer.CreateTopic(ctx, &pb.Topic{Name: unheard}); err != nil {
		t.Fatal(err)
	}
	ours.publisher = c.Publisher(unheard)
	ours.publisher.PublishSettings.DelayThreshold = time.Millisecond
	return ours
}

// serve starts the fake behind a server that ends streams after life.
func (s *side) serve(t testing.TB, life time.Duration) (addr string) {
	t.Helper()
	fake := pstest.NewServer()
	t.Cleanup(func() { _ = fake.Close() })
	s.fake = fake
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.StreamInterceptor(func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
		ctx, cancel := context.WithTimeout(ss.Context(), life)
		defer cancel()
		err := h(srv, mortal{ss, ctx})
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = status.Error(codes.Unavailable, "The service was unable to fulfill your request. Please try again.")
		}
		return err
	}))
	pb.RegisterPublisherServer(server, &fake.GServer)
	pb.RegisterSubscriberServer(server, &fake.GServer)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return l.Addr().String()
}

// mortal is a stream that ends with its context.
type mortal struct {
	grpc.ServerStream
	ctx context.Context
}

func (m mortal) Context() context.Context { return m.ctx }

func (m mortal) RecvMsg(into any) error {
	got := make(chan error, 1)
	go func() { got <- m.ServerStream.RecvMsg(into) }() // ends when the handler returns
	select {
	case err := <-got:
		return err
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

func (s *side) subscribe(ctx context.Context, t testing.TB, i int) {
	t.Helper()
	topic, sub := fmt.Sprintf("%stopics/t%d", project, i), fmt.Sprintf("%ssubscriptions/s%d", project, i)
	if _, err := s.fake.GServer.CreateTopic(ctx, &pb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.fake.GServer.CreateSubscription(ctx, &pb.Subscription{Name: sub, Topic: topic, AckDeadlineSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	subscriber := s.client.Subscriber(sub)
	subscriber.ReceiveSettings.NumGoroutines = 1
	s.done.Go(func() {
		if err := subscriber.Receive(ctx, s.deliver); err != nil {
			t.Errorf("a subscription ended: %v", err)
		}
	})
}

func (s *side) deliver(_ context.Context, m *pubsub.Message) {
	m.Ack()
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(m.Data)
	if s.seen[key]++; s.seen[key] == 1 {
		s.received.Add(time.Since(s.published[key]), nil)
	}
}

// send publishes two messages: one to a subscription, by the fake itself, whose
// delivery is timed, and one through the client, to a topic of its own.
func (s *side) send(i, subscriptions int) {
	data := strconv.Itoa(i)
	s.mu.Lock()
	s.published[data] = time.Now()
	s.mu.Unlock()
	s.fake.Publish(fmt.Sprintf("%stopics/t%d", project, i%subscriptions), []byte(data), nil)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.publish.Do(func() error {
		_, err := s.publisher.Publish(ctx, &pubsub.Message{Data: []byte(own + data)}).Get(ctx)
		return err
	})
}

// finish ends the client, and counts.
func (s *side) finish() {
	s.stop()
	s.done.Wait()
	for key := range s.published {
		if s.seen[key] == 0 {
			s.received.Add(0, errors.New("never came"))
		} else {
			s.received.Duplicate(s.seen[key] - 1)
		}
	}
	stored := map[string]bool{}
	for _, m := range s.fake.Messages() {
		if key := string(m.Data); strings.HasPrefix(key, own) {
			if stored[key] {
				s.publish.Duplicate(1)
			}
			stored[key] = true
		}
	}
}

func (s *side) complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen) >= len(s.published)
}
