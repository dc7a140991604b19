package interceptors

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// Option configures a [Suite], at [New] or [Suite.Reload].
type Option func(*settings)

// settings is what the options say.
type settings struct {
	policies    patternTable[Policy]
	fallbacks   patternTable[Fallback]
	resumes     patternTable[Resume]
	classifiers patternTable[*classifier]
	sources     map[string]string // of policies, by pattern
	source      string            // of those set now
	observers   []observe.Observer
	stores      []Store
	balancing   *Balancing // nil: the suite balances no load, or as it did
	logger      *slog.Logger

	targetName func(target string) string // nil: targets are their own names
	faults     []error
}

func readOptions(opts []Option) *settings {
	s := &settings{policies: patternTable[Policy]{}, fallbacks: patternTable[Fallback]{}, resumes: patternTable[Resume]{}, classifiers: patternTable[*classifier]{},
		sources: map[string]string{}, source: "code"}
	for _, o := range opts {
		if o == nil {
			s.fault(errors.New("option: must not be nil"))
			continue
		}
		o(s)
	}
	if n := len(s.observers); n > maxObservers {
		s.fault(fmt.Errorf("observers: %d given: want at most %d", n, maxObservers))
	}
	return s
}

func (s *settings) fault(err error) { s.faults = append(s.faults, err) }

func (s *settings) err() error { return errors.Join(s.faults...) }

// set adds an entry to a table of patterns, or the faults of its pattern.
func set[V any](s *settings, t patternTable[V], what, pattern string, v V) {
	if err := checkPattern(pattern); err != nil {
		s.fault(fmt.Errorf("%s: %w", what, err))
	} else if _, twice := t[pattern]; twice {
		s.fault(fmt.Errorf("%s: pattern %q is given twice: give each pattern once", what, pattern))
	} else {
		t[pattern] = v
	}
}

func (s *settings) setPolicy(pattern string, p Policy) {
	set(s, s.policies, "policy", pattern, p.withDefaults())
	s.sources[pattern] = s.source
	s.faults = append(s.faults, p.validate("policy "+pattern)...)
}

// clone returns a policy that shares nothing with this one: what the caller
// does to it later changes nothing here.
func (p Policy) clone() Policy {
	p.Retry.PerCode = maps.Clone(p.Retry.PerCode)
	return p
}

// WithPolicy sets the policy of every method that no [WithMethodPolicy] names.
func WithPolicy(p Policy) Option {
	p = p.clone()
	return func(s *settings) { s.setPolicy(everyMethod, p) }
}

// WithPolicySource says where the policies that opts set come from: a file and a
// line, say. [Suite.Snapshot] and [Suite.Explain] show it; without, policies come
// from "code". Package config says it of its files.
func WithPolicySource(source string, opts ...Option) Option {
	return func(s *settings) {
		before := s.source
		defer func() { s.source = before }()
		s.source = text.Name(source)
		for _, o := range opts {
			if o == nil {
				s.fault(errors.New("option: must not be nil"))
				continue
			}
			o(s)
		}
	}
}

// WithMethodPolicy sets the policy of the methods that pattern names:
// "/pkg.Service/Method" or "/pkg.Service/*". The most specific pattern's policy
// applies as a whole: a field that it leaves zero has the default, not the
// value of a wider pattern. A method that its service does not have, by the
// descriptor linked into the program, is no error: the suite logs it once, at
// [New] or the [Suite.Reload] that adds it.
func WithMethodPolicy(pattern string, p Policy) Option {
	p = p.clone()
	return func(s *settings) { s.setPolicy(pattern, p) }
}

// WithFallback answers failed calls of the methods that pattern names (the most
// specific pattern wins). See [Fallback].
func WithFallback(pattern string, f Fallback) Option {
	return func(s *settings) {
		if f == nil {
			s.fault(fmt.Errorf("fallback %s: must not be nil", pattern))
			return
		}
		set(s, s.fallbacks, "fallback", pattern, f)
	}
}

// WithResume lets server streams of the methods that pattern names (the most
// specific pattern wins) continue where they were cut. See [Resume].
func WithResume(pattern string, r Resume) Option {
	return func(s *settings) {
		if r == nil {
			s.fault(fmt.Errorf("resume %s: must not be nil", pattern))
			return
		}
		set(s, s.resumes, "resume", pattern, r)
	}
}

// WithBalancing has the suite balance load among the backends of each target.
// [Suite.DialOptions] then sets the load-balancing policy by a default service
// config; a program with one of its own merges them by [Suite.ServiceConfig].
// Connections go to all endpoints of a target then, where gRPC's default,
// pick_first, uses one.
//
// Where the policy has no say, everything is as without, and the suite logs it,
// once for each target: the target has a single address, or its resolver has a
// service config of its own, as xDS has.
//
// A [Suite.Reload] with WithBalancing changes its numbers; a Reload without it
// keeps them. It must not be given to a Reload if it was not to New.
func WithBalancing(b Balancing) Option {
	return func(s *settings) {
		if s.balancing != nil {
			s.fault(errors.New("balancing: is given twice: give WithBalancing once"))
			return
		}
		s.faults = append(s.faults, b.validate()...)
		b = b.withDefaults()
		s.balancing = &b
	}
}

// maxObservers is as many as there are bits in engine.Call.mutedStarters.
const maxObservers = 64

// WithObserver adds observers. A suite has at most 64: with more, New returns
// an error. See [observe.Observer].
func WithObserver(o ...observe.Observer) Option {
	return func(s *settings) {
		for i, each := range o {
			if each == nil {
				s.fault(fmt.Errorf("observer %d: must not be nil", i))
				continue
			}
			s.observers = append(s.observers, each)
		}
	}
}

// log is for a goroutine that may wait for the handler; others use Suite.Log.
func (s *settings) log() *slog.Logger { return cmp.Or(s.logger, slog.Default()) }

// WithLogger sets where the suite logs what happens to it. At level Warn: a
// breaker that opened, a backend that was ejected, retries of grpc-go beneath
// it, observers that panic or fall behind, methods that do not exist, state
// that cannot be saved. At level Info: a breaker that recovered, a backend that
// is back, policies that were replaced. At level Debug: results of probes. At
// level Error: faults of a policy file that is watched. Changes of breakers and
// backends are logged from a goroutine of the suite, at most 10 a second and 50
// at once; an observer that logs them itself, such as that of package tracing,
// replaces these records ([observe.ChangeLogger]). The default is
// [slog.Default] at the time of the record. Neither messages nor metadata
// values are ever logged.
//
// The handler may call the suite. A panic in it is dropped. Other records than
// those are logged where things happen, also by calls, which wait a second for a
// handler that hangs, and no more until it returns.
func WithLogger(l *slog.Logger) Option {
	return func(s *settings) { s.logger = l }
}

// WithTargetName names targets: the name stands for a target, as the connection
// was given it, in metric labels, span attributes and logs, as the key of its
// state in a [Store], and for its retry budget. Targets with the same name
// share breakers, limits and budgets. It is for targets that differ at each
// start, or for each connection:
//
//	interceptors.WithTargetName(func(target string) string {
//		if u, err := url.Parse(target); err == nil && u.Scheme == "etcd-endpoints" { // etcd-endpoints://0xc000123456/host
//			return "etcd" + u.Path
//		}
//		return target
//	})
//
// Default, also where name returns "": the target is its own name. Names longer
// than 512 bytes are kept as their beginning and a hash.
//
// name is called before the first call on a target: it must return at once and
// must not make a call through the suite. It is called once for a target, and
// again after ten minutes or more without a call; for targets longer than 4096
// bytes, and past 32768 targets, at each call. It must be safe for concurrent
// use. A panic in it is recovered and logged once; that target is its own name.
// It must not be given to [Suite.Reload], which keeps the names.
func WithTargetName(name func(target string) string) Option {
	return func(s *settings) {
		if name == nil {
			s.fault(fmt.Errorf("target name: must not be nil"))
			return
		}
		s.targetName = name
	}
}

// WithStore gives the suite a store, which is then its own: no other suite may
// have it, and Close closes it. If New fails, the store is the caller's to
// close. Several stores may be given. It must not be given to [Suite.Reload],
// which keeps stores.
func WithStore(s Store) Option {
	return func(set *settings) {
		if s == nil {
			set.fault(fmt.Errorf("store: must not be nil"))
			return
		}
		set.stores = append(set.stores, s)
	}
}

// WithClassifier has a function judge failed attempts of the methods that
// pattern matches, except attempts whose caller has cancelled. The most
// specific pattern wins. It must not be given to [Suite.Reload], which keeps
// classifiers.
func WithClassifier(pattern string, c Classifier, opts ...ClassifierOption) Option {
	return func(s *settings) {
		if c == nil {
			s.fault(fmt.Errorf("classifier %s: must not be nil", pattern))
			return
		}
		all := &classifier{of: c}
		for _, o := range opts {
			o(all)
		}
		set(s, s.classifiers, "classifier", pattern, all)
	}
}
