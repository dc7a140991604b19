package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/integration/lab"
)

const watchers = 8

var errNeverCame = errors.New("never came")

// watch delivers what another client writes to eight watch streams on one
// connection: how long after the write each event comes, which comes twice, and
// which never.
func watch(_ testing.TB, x *lab.Experiment, s *server, clients sides) (finish func()) {
	var (
		mu      sync.Mutex
		written = map[string]time.Time{}
		seen    = map[*lab.Side]map[string]int{x.Bare: {}, x.Astra: {}}
		done    sync.WaitGroup
	)
	ctx, cancel := context.WithCancel(context.Background())
	records := clients.records(x, fmt.Sprintf("Watch: events to %d streams", watchers), "/etcdserverpb.Watch/Watch")
	deliver := func(side *lab.Side, stream int, e *clientv3.Event) {
		mu.Lock()
		defer mu.Unlock()
		id := fmt.Sprintf("%d of %s", stream, e.Kv.Key)
		if seen[side][id]++; seen[side][id] > 1 {
			records[side].Duplicate(1)
			return
		}
		records[side].Add(time.Since(written[string(e.Kv.Key)]), nil)
	}
	x.Each(func(side *lab.Side) {
		for i := range watchers {
			// Watches with other metadata are streams of their own.
			ctx := metadata.AppendToOutgoingContext(ctx, "watcher", strconv.Itoa(i))
			events := clients[side].Watch(ctx, "event/", clientv3.WithPrefix(), clientv3.WithCreatedNotify())
			<-events // created
			done.Go(func() {
				for res := range events {
					for _, e := range res.Events {
						deliver(side, i, e)
					}
				}
			})
		}
	})
	writer := s.client(s.addr)
	x.Every(100*time.Millisecond, func(i int) {
		ctx, cancel := within(10 * time.Second)
		defer cancel()
		key := fmt.Sprintf("event/%d", i)
		mu.Lock()
		written[key] = time.Now()
		mu.Unlock()
		if _, err := writer.Put(ctx, key, ""); err != nil { // killed meanwhile: the event may come or not
			mu.Lock()
			delete(written, key)
			mu.Unlock()
		}
	})
	return func() {
		lab.Await(10*time.Second, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(seen[x.Bare]) >= watchers*len(written) && len(seen[x.Astra]) >= watchers*len(written)
		})
		cancel()
		done.Wait()
		x.Each(func(side *lab.Side) {
			for key := range written {
				for i := range watchers {
					if seen[side][fmt.Sprintf("%d of %s", i, key)] == 0 {
						records[side].Add(0, errNeverCame)
					}
				}
			}
		})
	}
}

// betweenRenewals is half the grid of 500 ms on which etcd's client renews its leases,
// from the first on. Faults begin at multiples of 500 ms: half a grid later, they
// are between two renewals of both sides. On the grid, chance decides which side
// renews just before a fault.
const betweenRenewals = 250 * time.Millisecond

// lease keeps leases alive. Each is a call that succeeds if the lease lives at the
// end; how long it took is the longest time between two answers. It must be set up
// last, and the faults betweenRenewals after it.
func lease(t testing.TB, x *lab.Experiment, s *server, clients sides) (finish func()) {
	const leases, ttl = 5, 10
	type kept struct {
		id   clientv3.LeaseID
		last time.Time
		gap  time.Duration
	}
	all := map[*lab.Side][]*kept{}
	records := clients.records(x, fmt.Sprintf("Lease of %d s, kept alive", ttl), "/etcdserverpb.Lease/LeaseKeepAlive")
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	x.Each(func(side *lab.Side) {
		for range leases {
			granted, err := clients[side].Grant(ctx, ttl)
			if err != nil {
				t.Fatal(err)
			}
			all[side] = append(all[side], &kept{id: granted.ID})
		}
	})
	x.Each(func(side *lab.Side) {
		for _, l := range all[side] {
			answers, err := clients[side].KeepAlive(ctx, l.id)
			if err != nil {
				t.Fatal(err)
			}
			l.last = time.Now()
			done.Go(func() {
				for range answers {
					now := time.Now()
					l.gap, l.last = max(l.gap, now.Sub(l.last)), now
				}
			})
		}
	})
	return func() {
		c := s.client(s.addr)
		lost := map[*kept]error{}
		x.Each(func(side *lab.Side) {
			for _, l := range all[side] {
				left, err := c.TimeToLive(context.Background(), l.id)
				if err == nil && left.TTL <= 0 {
					err = errors.New("lost")
				}
				lost[l] = err
			}
		})
		cancel()
		done.Wait()
		x.Each(func(side *lab.Side) {
			for _, l := range all[side] {
				records[side].Add(max(l.gap, time.Since(l.last)), lost[l])
			}
		})
	}
}
