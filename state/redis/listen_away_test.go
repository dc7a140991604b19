package astraredis

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestKilledRedis: away, breakers are the instance's own; back, empty, all is
// reported again.
func TestKilledRedis(t *testing.T) {
	s := startRedis(t)
	a, b := s.join(t), s.join(t, WithQuorum(1))
	a.trip(t)
	b.await(t, "received", 1)
	b.refuses(t)

	s.kill()
	a.await(t, "failed", 1)
	b.await(t, "failed", 3)
	const other = "/helloworld.Greeter/Other"
	for range policy.Breaker.Consecutive {
		_ = a.callMethod(other, down)
	}
	if err := a.callMethod(other, nil); err == nil {
		t.Error("without Redis no breaker opens")
	}
	if err := b.callMethod(other, nil); err != nil {
		t.Error(err)
	}
	c := s.join(t, WithQuorum(1)) // does not need it to begin
	c.passes(t)
	c.await(t, "failed", 1)
	if n := b.log.count("Redis is unreachable"); n != 1 {
		t.Errorf("%d warnings, want one:\n%s", n, &b.log)
	}

	s.start(t)
	c.await(t, "received", 2) // A's both
	b.await(t, "received", 1) // the new one; the other it knows
	if err := b.callMethod(other, nil); err == nil {
		t.Error("what happened meanwhile was not received")
	}
	c.refuses(t)
	for _, p := range []*peer{b, c} {
		if p.log.count("Redis is unreachable") != 1 || p.log.count("Redis is reachable again") != 1 {
			t.Errorf("want one warning, and word of the return:\n%s", &p.log)
		}
	}
}

// TestStalledRedis: a server that is there and does not answer is as good as
// away, and no call waits for it.
func TestStalledRedis(t *testing.T) {
	s := startRedis(t)
	a, b := s.join(t), s.join(t, WithQuorum(1))
	s.listeners(t, a.store.channel, 2)
	s.signal(t, syscall.SIGSTOP)
	began := time.Now()
	a.trip(t)
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			for range policy.Breaker.Consecutive + 1 {
				_ = a.callMethod(fmt.Sprint("/x.Y/", i), down)
			}
		})
	}
	calls.Wait()
	if took := time.Since(began); took > 5*time.Second { // far less, but for busy machines; nothing here would end before SIGCONT
		t.Errorf("calls took %v", took)
	}
	b.await(t, "failed", 1) // a ping that nobody answers
	b.passes(t)

	s.signal(t, syscall.SIGCONT)
	b.await(t, "received", 1+100)
	b.refuses(t)
}

// TestCloseWhileStalled: Close gives up, and the goroutines end when the client
// does.
func TestCloseWhileStalled(t *testing.T) {
	s := startRedis(t)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket(), ReadTimeout: time.Hour, WriteTimeout: time.Hour, MaxRetries: -1})
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	st, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	a := join(t, st.(*store))
	s.signal(t, syscall.SIGSTOP)
	a.trip(t)
	began := time.Now()
	err = a.Close()
	if took := time.Since(began); took > closeFor+5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err != nil && !strings.Contains(err.Error(), "did not answer within 5s") {
		t.Error(err)
	}
	if again := a.Close(); fmt.Sprint(again) != fmt.Sprint(err) {
		t.Errorf("%v, then %v", err, again)
	}
	_ = client.Close()
	s.signal(t, syscall.SIGCONT)
	a.store.running.Wait()
}
