package sim

import (
	"log/slog"
	"strconv"

	"github.com/astra-grpc/astra/internal/fleet"
)

// balanced sends a client's attempts where the balancing that ships has them go,
// as the load-balancing policy of package balancer does; all backends have a
// connection all the time. leave forgets what is known of them.
func balanced(l *Loop, cfg fleet.Config, backends []*backend) (f *fleet.Fleet, to func(*Attempt), leave func()) {
	r := fleet.NewRegistry(epoch, func() *slog.Logger { return slog.New(slog.DiscardHandler) }, cfg)
	r.Clock, r.Chance = l.Now, l.Rand
	f = r.Fleet("simulated")
	m := f.Join()
	var endpoints []fleet.Endpoint
	var keys []string
	for i := range backends {
		e := fleet.NewEndpoint([]string{strconv.Itoa(i)})
		endpoints, keys = append(endpoints, e), append(keys, e.Key)
	}
	m.Resolved(endpoints)
	chooser := fleet.NewChooser(f, m.Ready(keys), len(backends))
	return f, func(a *Attempt) {
		i := chooser.Choose(fleet.From(a.Context, f))
		b := chooser.Backend(i)
		b.Meter.Enter()
		a.over = b.Meter.Leave
		backends[i].send(a)
	}, r.Close
}
