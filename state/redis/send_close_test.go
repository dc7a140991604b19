package astraredis

import (
	"context"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/astra-grpc/astra/observe"
)

// slowReport is a hook that holds the first report up until its context ends.
type slowReport struct {
	once  sync.Once
	begun chan struct{}
}

func (h *slowReport) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *slowReport) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *slowReport) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		first := false
		if args := cmd.Args(); len(args) > 1 && args[1] == reportScript.Hash() {
			h.once.Do(func() { first = true })
		}
		if !first {
			return next(ctx, cmd)
		}
		close(h.begun)
		<-ctx.Done()
		cmd.SetErr(ctx.Err())
		return ctx.Err()
	}
}

// TestCloseWhileReporting: what Close itself breaks off is no failure of Redis,
// and is reported again.
func TestCloseWhileReporting(t *testing.T) {
	s := startRedis(t)
	client, hook := s.client(t), &slowReport{begun: make(chan struct{})}
	client.AddHook(hook)
	st, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	a := join(t, st.(*store))
	s.listeners(t, a.store.channel, 1)
	a.trip(t)
	<-hook.begun
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if got := a.log.String(); got != "" && a.log.count("Redis") > 0 {
		t.Errorf("Redis was there all the time; log:\n%s", got)
	}
	for _, n := range a.await(t, "sent", 1) {
		if n.Kind == observe.StateShared {
			t.Errorf("observers saw %v", n)
		}
	}
	if n := s.client(t).ZCard(t.Context(), a.store.set).Val(); n != 1 {
		t.Errorf("%d reports in Redis, want 1", n)
	}
}
