package astraredis

import (
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestAdvisory: the word of one leaves the others one failure short.
func TestAdvisory(t *testing.T) {
	s := startRedis(t)
	a, b, c := s.join(t), s.join(t), s.join(t)
	for _, p := range []*peer{a, b, c} {
		p.passes(t)
	}
	a.trip(t)
	a.await(t, "sent", 1)
	b.await(t, "received", 1)
	c.await(t, "received", 1)

	_ = b.call(down)
	b.refuses(t)
	c.passes(t) // takes the advice back
	_ = c.call(down)
	_ = c.call(down)
	c.passes(t)

	b.await(t, "sent", 1)
	c.await(t, "received", 1) // B's
	_ = c.call(down)
	c.refuses(t)

	// Nobody hears himself.
	if err := s.client(t).Publish(t.Context(), a.store.channel, "the last of all").Err(); err != nil {
		t.Fatal(err)
	}
	received := 0
	for _, n := range a.await(t, "rejected", 1) {
		if n.Result == observe.ResultReceived {
			received++
		}
	}
	if received > 2 { // B's, and C's unless that is still under way
		t.Errorf("received %d reports, want only the others'", received)
	}
}

// TestQuiet: a connection on which nothing happens is tested, and kept.
func TestQuiet(t *testing.T) {
	s := startRedis(t)
	a, c := s.join(t), s.client(t)
	s.listeners(t, a.store.channel, 1)
	for n := 0; n < 3; {
		stats, err := c.Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		if _, after, found := strings.Cut(stats, "cmdstat_ping:calls="); found {
			_, _ = fmt.Sscan(after[:strings.IndexByte(after, ',')], &n)
		}
	}
	if err := c.Publish(t.Context(), a.store.channel, "rubbish").Err(); err != nil {
		t.Fatal(err)
	}
	if others := a.await(t, "rejected", 1); len(others) != 0 {
		t.Errorf("reported %v of a connection that is good", others)
	}
}

// TestRetry: a report that could not be made, though the connection lives, is
// made later.
func TestRetry(t *testing.T) {
	s := startRedis(t)
	a, c := s.join(t), s.client(t)
	s.listeners(t, a.store.channel, 1)
	if err := c.Publish(t.Context(), a.store.channel, "rubbish").Err(); err != nil {
		t.Fatal(err)
	}
	a.await(t, "rejected", 1) // so it has read the set
	if err := c.Set(t.Context(), a.store.set, "no set", 0).Err(); err != nil {
		t.Fatal(err)
	}
	a.trip(t)
	a.await(t, "failed", 1)
	if err := c.Del(t.Context(), a.store.set).Err(); err != nil {
		t.Fatal(err)
	}
	a.await(t, "sent", 1)
}

// TestQuorum: the word of one does nothing, that of two opens, for as long as
// both hold; and what was opened so is not passed on.
func TestQuorum(t *testing.T) {
	s := startRedis(t)
	a, b, c, d := s.join(t), s.join(t), s.join(t, WithQuorum(2)), s.join(t, WithQuorum(2))
	c.passes(t) // and D has not called yet
	a.trip(t)
	c.await(t, "received", 1)
	d.await(t, "received", 1)
	c.passes(t)
	_ = c.call(down)
	c.passes(t)

	b.await(t, "received", 1)
	c.passes(t)
	_ = b.call(down)
	b.refuses(t)
	for _, p := range []*peer{c, d} {
		p.await(t, "received", 1)
		p.refuses(t)
		least := min(a.record().Left, b.record().Left)
		if off := p.record().Left - least; off > time.Second || off < -time.Second {
			t.Errorf("open for %v, want %v", p.record().Left, least)
		}
	}
	e := s.join(t)
	e.await(t, "received", 2) // A's and B's
	members, err := s.client(t).ZRange(t.Context(), a.store.set, 0, -1).Result()
	if err != nil || len(members) != 2 {
		t.Errorf("%v, %v: want two reports", members, err)
	}
}

// TestLateJoiner finds what was reported before, for methods it has not called.
func TestLateJoiner(t *testing.T) {
	s := startRedis(t)
	a := s.join(t)
	a.trip(t)
	a.await(t, "sent", 1)

	b := s.join(t, WithQuorum(1))
	b.await(t, "received", 1)
	b.refuses(t)
	if off := b.record().Left - a.record().Left; off > time.Second || off < -time.Second {
		t.Errorf("open for %v, want %v", b.record().Left, a.record().Left)
	}
}

// TestSecondLife: an instance that comes back under its name resumes what it
// reported; it is no stranger to itself.
func TestSecondLife(t *testing.T) {
	s := startRedis(t)
	a := s.join(t, WithInstance("pod-1"), WithQuorum(1))
	a.trip(t)
	left := a.record().Left
	if err := a.Close(); err != nil { // reports what it has not yet
		t.Fatal(err)
	}
	again := s.join(t, WithInstance("pod-1"), WithQuorum(1))
	again.await(t, "received", 1)
	again.refuses(t)
	if off := again.record().Left - left; off > 0 || off < -5*time.Second {
		t.Errorf("open for %v, want what is left of %v", again.record().Left, left)
	}

	s.signal(t, syscall.SIGSTOP)
	third := s.join(t, WithInstance("pod-1"), WithQuorum(1))
	third.passes(t)
	s.signal(t, syscall.SIGCONT)
	third.await(t, "received", 1)
	third.passes(t) // what is in use is not replaced
}

func TestNamespaces(t *testing.T) {
	s := startRedis(t)
	a, b := s.join(t, WithNamespace("shop")), s.join(t, WithNamespace("bank"), WithQuorum(1))
	c := s.join(t, WithNamespace("shop"), WithQuorum(1))
	a.trip(t)
	c.await(t, "received", 1)
	c.refuses(t)
	b.passes(t)
	keys, err := s.client(t).Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 || keys[0] != "astra:{shop}:open" {
		t.Errorf("keys %v, %v", keys, err)
	}
}

// TestRubbish: whatever is in Redis does no harm.
func TestRubbish(t *testing.T) {
	s := startRedis(t)
	ctx, c := t.Context(), s.client(t)
	a := s.join(t, WithQuorum(1))
	good := report{version, "x", "e", "", method, 1}
	big := good
	big.Target = strings.Repeat("x", maxName+1)
	later := good
	later.Version = 2
	nobody := good
	nobody.Instance = ""
	rubbish := []string{
		"", " ", "{}", "hello", "60000", "60000 ", "60000 {}", "60000 [1]", "60000 null",
		strings.Repeat("9", 1<<20),
		"60000 " + strings.Repeat("x", maxMember+1),
		published(time.Minute, big), published(time.Minute, later), published(time.Minute, nobody),
		published(0, good), published(-time.Minute, good), published(25*time.Hour, good), "1e3 " + strings.SplitN(published(1, good), " ", 2)[1],
	}
	// A valid report shows that the others have been read.
	end := published(time.Minute, report{version, "y", "e", "", "/x.Y/End", 1})
	s.listeners(t, a.store.channel, 1)
	for _, text := range append(rubbish, end) {
		if err := c.Publish(ctx, a.store.channel, text).Err(); err != nil {
			t.Fatal(err)
		}
	}
	others := a.await(t, "received", 1)
	if len(others) != len(rubbish) {
		t.Errorf("%d of %d rejected: %v", len(others), len(rubbish), others)
	}
	for _, n := range others {
		if n.Result != observe.ResultRejected || n.Err == nil {
			t.Errorf("got %+v", n)
		}
	}
	a.passes(t)

	// The same in the set, and scores that are no times.
	for _, z := range []redis.Z{{Score: 1e300, Member: "a"}, {Score: 9e15, Member: "b"}} {
		if err := c.ZAdd(ctx, a.store.set, z).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Do(ctx, "ZADD", a.store.set, "+inf", "c").Err(); err != nil {
		t.Fatal(err)
	}
	a.trip(t)
	a.await(t, "sent", 1)
	b := s.join(t, WithQuorum(1))
	if others := b.await(t, "received", 1); len(others) != 3 {
		t.Errorf("reported %v, want 3 rejected", others)
	}
	b.refuses(t)

	// A key of another type is a Redis that cannot be used.
	if err := c.Del(ctx, a.store.set).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(ctx, a.store.set, "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	d := s.join(t)
	d.await(t, "failed", 1)
	d.trip(t)
	d.await(t, "failed", 1)
	if got := c.Get(ctx, a.store.set).Val(); got != "mine" {
		t.Errorf("somebody's key holds %q", got)
	}
}

// TestKeysExpire: what is in Redis is bounded, in number and in time.
func TestKeysExpire(t *testing.T) {
	s := startRedis(t)
	ctx, c := t.Context(), s.client(t)
	run := func(member string, left time.Duration, most int) {
		t.Helper()
		if err := reportScript.Run(ctx, c, []string{"set"}, member, left.Milliseconds(), "news", most).Err(); err != nil {
			t.Fatal(err)
		}
	}
	ttl := func() time.Duration { return c.PTTL(ctx, "set").Val() }
	run("a", time.Hour, 3)
	if got := ttl(); got > time.Hour || got < 59*time.Minute {
		t.Errorf("expires in %v, want an hour", got)
	}
	run("b", time.Minute, 3)
	if got := ttl(); got < 59*time.Minute {
		t.Errorf("expires in %v, before one of its members", got)
	}
	run("c", 2*time.Minute, 3)
	run("a", time.Hour, 3)
	run("d", 3*time.Minute, 3)
	if got := c.ZRange(ctx, "set", 0, -1).Val(); strings.Join(got, " ") != "c d a" {
		t.Errorf("holds %v, want the three that last longest", got)
	}
	if err := c.ZAdd(ctx, "set", redis.Z{Score: 1, Member: "of 1970"}).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := listScript.Run(ctx, c, []string{"set"}, 2).StringSlice(); err != nil || len(got) != 2 || !strings.HasSuffix(got[0], " a") || !strings.HasSuffix(got[1], " d") {
		t.Errorf("listed %v, %v", got, err)
	}
	run("e", time.Minute, 10)
	if got := c.ZRange(ctx, "set", 0, -1).Val(); strings.Join(got, " ") != "e c d a" {
		t.Errorf("holds %v, want no expired one", got)
	}
	if got, err := listScript.Run(ctx, c, []string{"none"}, 2).StringSlice(); err != nil || len(got) != 0 {
		t.Errorf("listed %v, %v of nothing", got, err)
	}
}

// TestWithAnotherStore: which is given what the fleet has done.
func TestWithAnotherStore(t *testing.T) {
	s := startRedis(t)
	st, err := New(s.client(t), WithQuorum(1))
	if err != nil {
		t.Fatal(err)
	}
	other := &recorded{}
	a, b := s.join(t), join(t, st.(*store), interceptors.WithStore(other))
	b.passes(t)
	a.trip(t)
	b.await(t, "received", 1)
	b.refuses(t)
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.changes) != 1 || !other.changes[0].Remote {
		t.Errorf("the other store got %+v", other.changes)
	}
}

type recorded struct {
	mu      sync.Mutex
	changes []interceptors.Change
}

func (r *recorded) Attach(interceptors.StoreHandle) error { return nil }
func (r *recorded) Close() error                          { return nil }
func (r *recorded) Changed(c interceptors.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, c)
}

// TestOneSuiteAStore, with a Redis that is not there.
func TestOneSuiteAStore(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer func() { _ = client.Close() }()
	st, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	a := join(t, st.(*store))
	if _, err := interceptors.New(interceptors.WithStore(st)); err == nil || !strings.Contains(err.Error(), "another suite") {
		t.Errorf("%v for a second suite", err)
	}
	a.await(t, "failed", 1)
	for range 2 {
		if err := a.Close(); err != nil {
			t.Errorf("%v: a Redis that is away is no fault of Close", err)
		}
	}
	if _, err := interceptors.New(interceptors.WithStore(st)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v after Close", err)
	}
	unused, err := New(client)
	if err != nil {
		t.Fatal(err)
	}
	if err := unused.Close(); err != nil {
		t.Error(err)
	}
	unused.Changed(interceptors.Change{To: observe.BreakerOpen, Left: time.Minute})
}

func TestFaults(t *testing.T) {
	_, err := New(nil, nil, WithInstance(""), WithQuorum(0), WithNamespace("a b"), WithNamespace(""))
	for _, want := range []string{"nil client", "nil Option", `instance "": want 1 to 128 bytes`, "quorum 0: want 1 to 1000", `namespace "a b": want`, `namespace "": want`} {
		if err == nil || !strings.Contains(err.Error(), "astraredis: "+want) && !strings.Contains(err.Error(), "astraredis: a "+want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	for _, o := range []Option{WithInstance(strings.Repeat("x", 129)), WithInstance("\xff"), WithQuorum(1001), WithNamespace(strings.Repeat("x", 65)), WithNamespace("{x}")} {
		client := redis.NewClient(&redis.Options{})
		if st, err := New(client, o); err == nil || st != nil {
			t.Errorf("%v, %v", st, err)
		}
		_ = client.Close()
	}
}
