// Package etcd holds the rows of etcd's client, before a server in a process of
// its own.
package etcd

import (
	"fmt"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/astra-grpc/astra/integration/lab"
)

const client = "etcd"

func TestMain(m *testing.M) {
	if dir := os.Getenv(dirEnv); dir != "" {
		fmt.Fprintln(os.Stderr, serve(dir, os.Getenv(addrEnv)))
		os.Exit(1)
	}
	os.Exit(lab.Main(m, client))
}

// side is a client of one side, through a proxy of its own, or two.
type side struct {
	*clientv3.Client
	*lab.Side
	proxy *lab.Proxy
	well  *lab.Proxy // which no fault befalls; nil: there is none
}

// sides are clients of both.
type sides map[*lab.Side]side

func dial(t testing.TB, x *lab.Experiment, s *server) sides {
	t.Helper()
	return lab.Both(x, func(own *lab.Side) side {
		p := own.Proxy(t, s.addr)
		return side{s.client(p.Addr, own.DialOptions()...), own, p, nil}
	})
}

// dialTwo returns clients of two endpoints, of which faults befall one.
func dialTwo(t testing.TB, x *lab.Experiment, s *server) sides {
	t.Helper()
	return lab.Both(x, func(own *lab.Side) side {
		p, well := own.Proxy(t, s.addr), lab.NewProxy(t, s.addr)
		return side{s.clientOf([]string{p.Addr, well.Addr}, own.DialOptions()...), own, p, well}
	})
}

// records returns a record of each side.
func (ss sides) records(x *lab.Experiment, call string, methods ...string) map[*lab.Side]*lab.Record {
	return lab.Both(x, func(own *lab.Side) *lab.Record {
		r := own.Record(call, ss[own].proxy, methods...)
		if well := ss[own].well; well != nil {
			r.Through(well)
		}
		return r
	})
}

// compare runs every kind of call, whose callers wait for patience, under a fault.
func compare(t *testing.T, fault string, d, patience time.Duration, begin func(testing.TB, *lab.Experiment, *server)) {
	t.Helper()
	t.Parallel()
	lab.Compare(t, client, fault, d, func(t testing.TB, x *lab.Experiment) func() {
		s := start(t)
		kv := dial(t, x, s)
		checks := []func(){
			put(t, x, s, kv, patience), create(x, kv, patience), get(x, kv, patience),
			increment(t, x, s, dial(t, x, s), patience),
			watch(t, x, s, dial(t, x, s)),
			gateway(t, x, dial(t, x, s), patience),
			lease(t, x, s, dial(t, x, s)),
		}
		<-time.After(betweenRenewals)
		begin(t, x, s)
		return func() {
			for _, check := range checks {
				check()
			}
		}
	})
}

func TestCut(t *testing.T) {
	compare(t, "connection cut every 2 s", 9*time.Second, 3*time.Second, func(_ testing.TB, x *lab.Experiment, _ *server) {
		x.Cut(2*time.Second, 200*time.Millisecond)
	})
}

func TestKill(t *testing.T) {
	compare(t, "kill -9 every 4 s, restarted at once", 9*time.Second, 3*time.Second, func(_ testing.TB, x *lab.Experiment, s *server) {
		x.Every(4*time.Second, func(int) { s.restart() })
	})
}

func TestStop(t *testing.T) {
	compare(t, "SIGSTOP for 1.5 s of every 4 s", 9*time.Second, 3*time.Second, func(_ testing.TB, x *lab.Experiment, s *server) {
		x.Every(4*time.Second, func(int) { s.stop(1500 * time.Millisecond) })
	})
}

func TestStopForLong(t *testing.T) {
	compare(t, "SIGSTOP for 2.5 s of every 5 s, callers wait .5 s", 11*time.Second, 500*time.Millisecond, func(_ testing.TB, x *lab.Experiment, s *server) {
		x.Every(5*time.Second, func(int) { s.stop(2500 * time.Millisecond) })
	})
}

func TestRefuse(t *testing.T) {
	compare(t, "connections refused for .7 s of every 4 s", 9*time.Second, 3*time.Second, func(t testing.TB, x *lab.Experiment, _ *server) {
		x.Refuse(t, 4*time.Second, 700*time.Millisecond)
	})
}

func TestRefuseForLong(t *testing.T) {
	compare(t, "connections refused for 3 s of every 6 s", 11*time.Second, 3*time.Second, func(t testing.TB, x *lab.Experiment, _ *server) {
		x.Refuse(t, 6*time.Second, 3*time.Second)
	})
}

// TestOneOfTwo: the fault befalls one of two endpoints, so half of the requests.
func TestOneOfTwo(t *testing.T) {
	for _, f := range []struct {
		name  string
		begin func(t testing.TB, x *lab.Experiment)
	}{
		{"one of two endpoints answers nothing for 2.5 s of every 5 s, callers wait .5 s", func(_ testing.TB, x *lab.Experiment) {
			x.Cut(5*time.Second, 2500*time.Millisecond)
		}},
		{"one of two endpoints refuses connections for 2.5 s of every 5 s", func(t testing.TB, x *lab.Experiment) {
			x.Refuse(t, 5*time.Second, 2500*time.Millisecond)
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			const patience = 500 * time.Millisecond
			lab.Compare(t, client, f.name, 11*time.Second, func(t testing.TB, x *lab.Experiment) func() {
				s := start(t)
				kv := dialTwo(t, x, s)
				checks := []func(){put(t, x, s, kv, patience), create(x, kv, patience), get(x, kv, patience), increment(t, x, s, dialTwo(t, x, s), patience)}
				f.begin(t, x)
				return func() {
					for _, check := range checks {
						check()
					}
				}
			})
		})
	}
}
