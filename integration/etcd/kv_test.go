package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/astra-grpc/astra/integration/lab"
)

const kvService = "/etcdserverpb.KV/"

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// put writes new keys. A key of a version above 1 was written twice.
func put(t testing.TB, x *lab.Experiment, s *server, clients sides, patience time.Duration) (finish func()) {
	records := clients.records(x, "Put of new keys", kvService+"Put")
	x.Load(25, func(side *lab.Side, i int) {
		ctx, cancel := within(patience)
		defer cancel()
		_ = records[side].Do(func() error {
			_, err := clients[side].Put(ctx, fmt.Sprintf("%s/put/%d", side.Dir, i), "x")
			return err
		})
	})
	return func() {
		x.Each(func(side *lab.Side) {
			got, err := s.client(s.addr).Get(context.Background(), side.Dir+"/put/", clientv3.WithPrefix())
			if err != nil {
				t.Error(err)
				return
			}
			for _, kv := range got.Kvs {
				records[side].Duplicate(int(kv.Version) - 1)
			}
		})
	}
}

// create writes keys that nobody else writes, if they are not there. To hear that
// one is there means that the write was done twice.
func create(x *lab.Experiment, clients sides, patience time.Duration) (finish func()) {
	records := clients.records(x, "Txn: create if absent", kvService+"Txn")
	x.Load(25, func(side *lab.Side, i int) {
		ctx, cancel := within(patience)
		defer cancel()
		key, won := fmt.Sprintf("%s/create/%d", side.Dir, i), true
		err := records[side].Do(func() error {
			res, err := clients[side].Txn(ctx).If(clientv3.Compare(clientv3.Version(key), "=", 0)).Then(clientv3.OpPut(key, "x")).Commit()
			won = err != nil || res.Succeeded
			return err
		})
		if err == nil && !won {
			records[side].Duplicate(1)
		}
	})
	return func() {}
}

// get reads, which etcd's client itself repeats.
func get(x *lab.Experiment, clients sides, patience time.Duration) (finish func()) {
	records := clients.records(x, "Get", kvService+"Range")
	x.Load(25, func(side *lab.Side, _ int) {
		ctx, cancel := within(patience)
		defer cancel()
		_ = records[side].Do(func() error {
			_, err := clients[side].Get(ctx, "ready")
			return err
		})
	})
	return func() {}
}

// increment counts by transactions with etcd's software transactional memory. A
// counter above the increments that were acknowledged and those that failed, of
// which nobody knows, was incremented twice by one.
func increment(t testing.TB, x *lab.Experiment, s *server, clients sides, patience time.Duration) (finish func()) {
	const counters = 100
	begun := map[*lab.Side]*[counters]int{x.Bare: {}, x.Astra: {}}
	records := clients.records(x, "STM: increments of counters", kvService+"Range", kvService+"Txn")
	key := func(side *lab.Side, i int) string { return fmt.Sprintf("%s/counter/%d", side.Dir, i) }
	x.Every(100*time.Millisecond, func(i int) {
		x.Each(func(side *lab.Side) {
			counter := i % counters
			begun[side][counter]++
			x.Go(func() {
				ctx, cancel := within(patience)
				defer cancel()
				_ = records[side].Do(func() error {
					_, err := concurrency.NewSTM(clients[side].Client, func(stm concurrency.STM) error {
						n, _ := strconv.Atoi(stm.Get(key(side, counter)))
						stm.Put(key(side, counter), strconv.Itoa(n+1))
						return nil
					}, concurrency.WithAbortContext(ctx))
					return err
				})
			})
		})
	})
	return func() {
		x.Each(func(side *lab.Side) {
			c := s.client(s.addr)
			for i := range counters {
				got, err := c.Get(context.Background(), key(side, i))
				if err != nil {
					t.Error(err)
					return
				}
				for _, kv := range got.Kvs {
					n, err := strconv.Atoi(string(kv.Value))
					records[side].Duplicate(max(0, n-begun[side][i]))
					if err != nil {
						t.Error(errors.Join(errors.New("a counter holds no number"), err))
					}
				}
			}
		})
	}
}
