package interceptors

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/changelog"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/internal/message"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc"
)

// Suite holds policies and the state that calls share: breakers, budgets,
// observers. One suite may serve any number of connections; breakers are kept
// apart by target and method, budgets by target. All methods may be called at
// any time, from any goroutine.
type Suite struct {
	registry
	nativeRetry nativeRetryCheck
	evictions   sync.Once // at Close

	lateFailure logFailure     // says that an attempt panicked that nobody waited for
	replay      message.Ledger // bytes that streams keep to send again
	misspelt    misspellings   // of policies; guarded by mu
}

// suites counts those made.
var suites atomic.Uint64

// New returns a suite. Without options every method has the default [Policy].
// The error joins every fault of every option, each naming field, value and
// allowed range.
func New(opts ...Option) (*Suite, error) {
	set := readOptions(opts)
	if err := set.err(); err != nil {
		return nil, err
	}
	s := &Suite{registry: registry{
		number: suites.Add(1),

		Host:        engine.Host{Epoch: time.Now(), Logger: set.logger, Journal: journal.New(journal.Max)},
		policies:    compileAll(set),
		fallbacks:   set.fallbacks,
		resumes:     set.resumes,
		classifiers: set.classifiers,
		plans:       make(map[key]*plan),
		budgets:     make(map[budgetKey]*budget.Guard),

		pending:        make(map[key]pendingBreaker),
		pendingBudgets: make(map[string]map[budget.Config]pendingBudget),
	}}
	s.balancing = newBalancing(&s.Host, set.balancing)
	if set.targetName != nil {
		s.naming = &naming{of: set.targetName, known: make(map[string]*targetName)}
	}
	s.lateFailure = func(what any, stack []byte) {
		s.Log().Error("astra: attempt panicked after its call returned", "panic", what, "stack", string(stack))
	}
	for _, o := range set.observers {
		s.observers = append(s.observers, hooks.NewObserver(o, s.Log, engine.Bounded))
	}
	if !slices.ContainsFunc(set.observers, logsChanges) {
		s.changes = changelog.NewQueue(changelog.NewChanges(set.log, "astra: ", changelog.DefaultRate, changelog.DefaultBurst))
		s.LogChange = s.changes.Add
	}
	s.table.Store(newTable(0))
	s.reloadedLocked() // nobody else has it yet
	if err := s.attach(set.stores); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.mu.Lock()
	wrong := s.misspelt.replace(misspeltIn("policy", set.policies))
	s.mu.Unlock()
	warnMisspelt(s.Log(), slices.Concat(wrong, misspeltIn("fallback", set.fallbacks), misspeltIn("resume", set.resumes), misspeltIn("classifier", set.classifiers)))
	return s, nil
}

func logsChanges(o observe.Observer) bool {
	_, yes := o.(observe.ChangeLogger)
	return yes
}

func compileAll(set *settings) patternTable[*compiled] {
	all := make(patternTable[*compiled], len(set.policies)+1)
	for pattern, p := range set.policies {
		all[pattern] = compile(p).from(pattern, set.sources[pattern])
	}
	if all[everyMethod] == nil {
		all[everyMethod] = compile(Policy{}.withDefaults()).from(everyMethod, "default")
	}
	return all
}

// UnaryClientInterceptor returns the interceptor of unary calls. It should be
// the first of a chain: interceptors after it see each attempt, interceptors
// before it see the call. The connection should be dialed with
// [grpc.WithDisableRetry], as [Suite.DialOptions] does, or grpc-go's own
// retries multiply with these.
//
// Interceptors after it must not use their CallOptions once they have returned.
func (s *Suite) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return s.unary(&s.nativeRetry)
}

// StreamClientInterceptor returns the interceptor of streams of every kind. See
// [Suite.UnaryClientInterceptor] for where it belongs.
func (s *Suite) StreamClientInterceptor() grpc.StreamClientInterceptor {
	return s.stream(&s.nativeRetry)
}

// DialOptions returns what [grpc.NewClient] needs: both interceptors, chained
// (given before other interceptors, they are outermost), and
// [grpc.WithDisableRetry]; with [WithBalancing] also
// [grpc.WithDefaultServiceConfig]. A retry policy in the connection's service config
// is followed, within the budget, for methods whose [Policy] has a zero Retry and no
// Hedge; one of an xDS route is not, as interceptors cannot see it.
func (s *Suite) DialOptions() []grpc.DialOption {
	return append([]grpc.DialOption{
		grpc.WithChainUnaryInterceptor(s.unary(nil)),
		grpc.WithChainStreamInterceptor(s.stream(nil)),
		grpc.WithDisableRetry(),
	}, s.balancing.dialOptions()...)
}

// ServiceConfig returns a service config, JSON as gRPC reads it, with the
// load-balancing policy of [WithBalancing] in it, for programs that have one of
// their own: give what it returns to grpc.WithDefaultServiceConfig, after
// [Suite.DialOptions], or to the resolver. Without WithBalancing it returns
// config as it is. It returns an error if config is not a JSON object, or names a
// load-balancing policy other than round_robin, which would be lost. "" is an
// empty config.
func (s *Suite) ServiceConfig(config string) (string, error) { return s.balancing.merge(config) }

// Reload replaces all policies with the given ones: without options every
// method has the default again. Observers, fallbacks, stores, names of targets
// and the logger stay, so those options are faults here. The state of breakers,
// budgets and metrics stays too: an open breaker stays open for the time it
// has, under the new thresholds. Calls that run end under the policy they began
// with. If there are faults, they are returned, joined, and nothing changes but
// [Suite.Revision].
func (s *Suite) Reload(opts ...Option) error {
	set := readOptions(opts)
	if len(set.observers) > 0 || len(set.fallbacks) > 0 || len(set.resumes) > 0 || len(set.classifiers) > 0 || len(set.stores) > 0 || set.logger != nil || set.targetName != nil {
		set.fault(errors.New("reload: an option is not one of policies or balancing: give observers, fallbacks, resumes, classifiers, stores, target names and the logger to New"))
	}
	if set.balancing != nil && s.balancing == nil {
		set.fault(errors.New("reload: balancing: was not given to New: give it there, too, as connections are dialed with it"))
	}
	if err := set.err(); err != nil {
		s.ReloadFailed(err)
		return err
	}
	policies, wrong := compileAll(set), misspeltIn("policy", set.policies)

	if set.balancing != nil {
		s.balancing.registry.Reconfigure(set.balancing.config())
	}
	s.mu.Lock()
	s.policies = policies
	wrong = s.misspelt.replace(wrong)
	s.reloadedLocked()
	made, generation := s.rebuildLocked(), s.revision.Generation
	s.mu.Unlock()
	s.rebuilt(made)
	warnMisspelt(s.Log(), wrong)
	s.Log().Info("astra: policies replaced", "generation", generation)
	s.notify(observe.SuiteEvent{Kind: observe.Reloaded, Result: observe.ResultSuccess})
	return nil
}

// Close ends the suite's goroutines, after its stores have written what they
// keep and queued events have been delivered to its observers. It waits for
// observers that do not return for 5 s in all. Calls after it still work, with
// their policies' retries and budgets, but without breaker, fallback or
// observers. Close may be called more than once. It returns the errors of its
// stores, joined.
func (s *Suite) Close() error {
	closing := false
	s.evictions.Do(func() {
		s.evictAll()
		closing = true
	})
	if s.balancing != nil {
		s.balancing.registry.Close()
	}
	var faults []error
	for _, st := range s.stores {
		faults = append(faults, closeStore(st))
	}
	if closing {
		s.notify(observe.SuiteEvent{Kind: observe.SuiteClosed, Result: observe.ResultSuccess})
	}
	began := time.Now()
	hooks.Close(s.observers)
	if s.changes != nil {
		s.changes.Wait(time.Until(began.Add(hooks.CloseTimeout)))
	}
	return errors.Join(faults...)
}

// evictAll makes calls plain ones, and has the observers forget all endpoints.
func (s *Suite) evictAll() {
	s.mu.Lock()
	s.closed = true
	s.viewLocked()
	s.rebuildLocked()
	var all []*endpoint
	for _, p := range s.plans {
		all = append(all, p.endpoint)
	}
	if s.overflowEndpoint != nil {
		all = append(all, s.overflowEndpoint)
	}
	s.mu.Unlock()
	evict(all)
}

// Logger returns where the suite warns, for packages that work on its behalf: a
// logger to the handler of [WithLogger]'s, or of [slog.Default] as it is now,
// which survives a handler that panics and does not wait for one that hangs.
func (s *Suite) Logger() *slog.Logger { return s.Log() }

// attach hands the stores the suite. If one refuses, it and those after it are
// left alone.
func (s *Suite) attach(stores []Store) error {
	for i, st := range stores {
		if err := st.Attach(StoreHandle{&s.registry, i}); err != nil {
			return err
		}
		s.stores = append(s.stores, st)
	}
	return nil
}

// Revision returns the revision of the suite's policies.
func (s *Suite) Revision() Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// ReloadFailed records that new policies could not be had, from a file that
// cannot be read, say: [Suite.Revision] and a [observe.SuiteObserver] report it.
// Policies stay as they are. A Reload that fails records that itself.
func (s *Suite) ReloadFailed(err error) {
	s.mu.Lock()
	s.revision.Err, s.revision.ErrAt = err, time.Now()
	s.history.revised(s.revision.snapshot(), ReloadSnapshot{Time: s.revision.ErrAt, Result: observe.ResultFailed.String(), Generation: s.revision.Generation, Error: errorText(err)})
	s.mu.Unlock()
	s.notify(observe.SuiteEvent{Kind: observe.Reloaded, Result: observe.ResultFailed, Err: err})
}
