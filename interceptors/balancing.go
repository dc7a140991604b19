package interceptors

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
)

// Balancing lets a suite choose the backend of each attempt: a retry or a hedge
// goes to one that its call has not tried, and a backend that fails is ejected
// until it serves again. See [WithBalancing]. The zero value is the default.
//
// A backend is an endpoint that the target's resolver returns. Each is judged
// on its own, by what the policies count as failures (Breaker.Failures), over
// all methods and all connections of the suite. Failures on other backends do
// not open a method's breaker while the backend on which the method last
// succeeded is healthy.
type Balancing struct {
	// Policy chooses among backends that are equally good: "round_robin", the
	// default, or "p2c", the cheaper of two drawn at random. A backend's cost
	// is the peak of its recent latency times its attempts in flight; failures
	// do not count as latency. A backend that fails more often than the other
	// is skipped at random, the more often the more it fails, and so is one
	// that is new or has recovered, for 3 s.
	Policy string
	// SameBackend lets retries and hedges go to a backend that their call has
	// tried, for backends that keep a session.
	SameBackend bool
	// KeepBackoff keeps the backoff before a retry that goes to another
	// backend. Without it such a retry is made at once, unless the server has
	// said when, by pushback or RetryInfo.
	KeepBackoff bool
	// Eject is when a failing backend gets no calls.
	Eject Eject
}

// Eject is when a failing backend is ejected, and for how long. The zero value
// is the default. An ejected backend gets only probes: one call at a time, once
// its time is over or 200 × Probes calls have gone elsewhere, whichever is
// first; calls of methods that are retried, if there are any. A call whose
// attempt fails on an ejected backend is retried without a budget token, if it
// may be retried and a healthy backend is left that it has not tried.
//
// A backend with at least three calls in flight that has answered nothing for
// four times its latency, and 50 ms at least, while others have, is avoided
// before any call has failed; see docs/backends.md.
type Eject struct {
	// Mode is [ModeEnforce], the default, or [ModeObserve]: backends are
	// judged, and their states shown and logged, as ever, but no attempt is
	// kept away from one, neither for its failures nor for its silence.
	// Attempts that would have gone elsewhere are counted
	// (astra_backend_would_avoid_total).
	Mode Mode
	// Disabled ejects no backend.
	Disabled bool
	// MaxShare is the share of the resolved endpoints that may be out, rounded
	// down, and never all. If more fail, all get calls again: the cause is then
	// probably not the backends. From 0.01 to 1. Default: 0.5.
	MaxShare float64
	// Consecutive is how many failures in a row eject. From 1 to 1000000.
	// Default: 7.
	Consecutive int
	// FailureRate ejects at this share of failures in 10 s, of at least 20
	// attempts. Above 0, up to 1. Default: 0.2.
	FailureRate float64
	// Probes is how many successes in a row bring a backend back. From 1 to
	// 1000. Default: 3.
	Probes int
	// OpenFor is the first time out; each probe that fails doubles it, up to
	// MaxOpenFor. Both are spread by a quarter. Defaults: 1 s and 10 s, or
	// OpenFor if that is longer.
	OpenFor, MaxOpenFor time.Duration
}

// The names of Balancing.Policy.
const (
	roundRobin = "round_robin"
	p2c        = "p2c"
)

func (b Balancing) withDefaults() Balancing {
	b.Policy = cmp.Or(b.Policy, roundRobin)
	e := &b.Eject
	e.MaxShare = cmp.Or(e.MaxShare, 0.5)
	e.Consecutive = cmp.Or(e.Consecutive, 7)
	e.FailureRate = cmp.Or(e.FailureRate, 0.2)
	e.Probes = cmp.Or(e.Probes, 3)
	e.OpenFor = cmp.Or(e.OpenFor, time.Second)
	e.MaxOpenFor = cmp.Or(e.MaxOpenFor, max(e.OpenFor, 10*time.Second))
	return b
}

// Validate returns every fault, each a [*FieldError], joined; nil if there is
// none.
func (b Balancing) Validate() error { return errors.Join(b.validate()...) }

func (b Balancing) validate() []error {
	f := faults{policy: "balancing"}
	if b.Policy != "" && b.Policy != roundRobin && b.Policy != p2c {
		f.add("Policy", b.Policy, "", "%q or %q", roundRobin, p2c)
	}
	f.path = "Eject."
	e := b.Eject
	e.Mode.validate(&f)
	if m := e.MaxShare; m != 0 && !(m >= 0.01 && m <= 1) {
		f.add("MaxShare", m, theDefault, "from 0.01 to 1")
	}
	countUpTo(&f, "Consecutive", e.Consecutive, 1_000_000)
	shareUpTo(&f, "FailureRate", e.FailureRate, 1)
	countUpTo(&f, "Probes", e.Probes, 1000)
	if e.OpenFor < 0 || e.OpenFor > maxEjection {
		f.add("OpenFor", e.OpenFor, theDefault, "from 1ns to %v", maxEjection)
	}
	d := b.withDefaults().Eject
	if e.MaxOpenFor < 0 || e.MaxOpenFor > maxEjection || d.MaxOpenFor < d.OpenFor {
		f.add("MaxOpenFor", e.MaxOpenFor, theDefault, "from %v, which is %v, to %v", ref("Eject.OpenFor"), d.OpenFor, maxEjection)
	}
	return f.errs
}

// maxEjection bounds OpenFor and MaxOpenFor.
const maxEjection = 24 * time.Hour

// ejectWindow and ejectMinCalls are for FailureRate. A backend is asked for a
// probe after as many calls as that share of them makes one.
const (
	ejectWindow     = 10 * time.Second
	ejectMinCalls   = 20
	ejectProbeShare = 0.005
	ejectSlowRate   = 0.5
)

func (b Balancing) config() fleet.Config {
	e := b.Eject
	return fleet.Config{
		P2C:         b.Policy == p2c,
		SameBackend: b.SameBackend,
		KeepBackoff: b.KeepBackoff,
		EjectOff:    e.Disabled,
		Observe:     e.Mode == ModeObserve,
		MaxShare:    e.MaxShare,
		Breaker: breaker.Config{
			FailureRate: e.FailureRate,
			SlowRate:    ejectSlowRate,
			MinCalls:    ejectMinCalls,
			Window:      ejectWindow,
			Consecutive: e.Consecutive,
			OpenFor:     e.OpenFor,
			MaxOpenFor:  e.MaxOpenFor,
			ProbeShare:  ejectProbeShare,
			Probes:      e.Probes,
			ProbeTTL:    minProbeTTL,
		},
	}
}

// balancing is what a suite that balances load has for it.
type balancing struct{ registry *fleet.Registry }

// newBalancing returns nil if the suite is not to.
func newBalancing(h *engine.Host, b *Balancing) *balancing {
	if b == nil {
		return nil
	}
	if !fleet.IsLinked() {
		h.Log().Warn("astra: balancing: load-balancing policy left out by the build tag astranobalancer: connections use round_robin, backends are neither avoided nor ejected")
	}
	return &balancing{fleet.NewRegistry(h.Epoch, func() *slog.Logger { return h.Log() }, b.config())}
}

// located is the fleet of a target, as connections are given it.
type located struct {
	target string
	fleet  *fleet.Fleet
}

// lbConfig is the service config's entry. A program without the policy falls
// back on what is second.
func (b *balancing) lbConfig() []map[string]any {
	return []map[string]any{
		{fleet.Policy: map[string]string{"suite": b.registry.ID}},
		{roundRobin: struct{}{}},
	}
}

// merge is [Suite.ServiceConfig].
func (b *balancing) merge(config string) (string, error) {
	all := map[string]json.RawMessage{}
	if strings.TrimSpace(config) != "" {
		if err := json.Unmarshal([]byte(config), &all); err != nil || all == nil {
			return "", fmt.Errorf("service config: is not a JSON object: %w", cmp.Or(err, errors.New("null")))
		}
	}
	if b == nil {
		return config, nil
	}
	if p := otherPolicy(all); p != "" {
		return "", fmt.Errorf("service config: load-balancing policy %q: conflicts with the suite's: remove it, or name round_robin", p)
	}
	delete(all, "loadBalancingPolicy")
	ours, err := json.Marshal(b.lbConfig())
	if err != nil {
		return "", err
	}
	all["loadBalancingConfig"] = ours
	merged, err := json.Marshal(all)
	return string(merged), err
}

// otherPolicy returns the name of the policy that a service config asks for, if
// it is not ours to replace.
func otherPolicy(config map[string]json.RawMessage) string {
	var name string
	_ = json.Unmarshal(config["loadBalancingPolicy"], &name) // gRPC says what is wrong with it
	if name != "" && name != roundRobin {
		return name
	}
	var list []map[string]json.RawMessage
	_ = json.Unmarshal(config["loadBalancingConfig"], &list)
	for _, entry := range list {
		for _, name := range slices.Sorted(maps.Keys(entry)) {
			if name != roundRobin && name != fleet.Policy {
				return name
			}
		}
	}
	return ""
}

// dialOptions returns the options that set the policy.
func (b *balancing) dialOptions() []grpc.DialOption {
	config, err := b.merge("")
	if b == nil || err != nil { // it is ours
		return nil
	}
	return []grpc.DialOption{grpc.WithDefaultServiceConfig(config)}
}
