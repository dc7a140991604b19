package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/state"
)

// show runs the client, and, without a target, the flaky servers too; then the
// summary.
func show(ctx context.Context, cfg settings, out io.Writer) error {
	policies, err := readPolicies(cfg.config, cfg.pace)
	if err != nil {
		return err
	}
	m := metrics.New()
	page, err := servePage(cfg.metrics, m)
	if err != nil {
		return err
	}
	defer page.close()

	st := &stage{settings: cfg, books: newLedger(cfg.pace), policies: policies, page: page}
	defer st.close()
	greeter, err := st.dial(m)
	if err != nil {
		return err
	}
	page.show(greeter.suite)
	ctx, end := context.WithCancel(ctx)
	defer end()
	if err := policies.follow(ctx, greeter.suite); err != nil && ctx.Err() == nil {
		return err
	}
	st.introduce(out)
	v := st.view(out)
	st.perform(ctx, greeter, v)

	s := summary{arrived: -1, url: page.url, early: ctx.Err() != nil, palette: v.palette}
	s.acts, s.streams = st.books.results()
	if st.servers != nil {
		s.arrived = st.servers.countAttempts(s.acts)
	}
	s.print(out)
	if all := s.total(); all.calls > 0 && all.goodput() == 0 && !s.early {
		return fmt.Errorf("no call was answered: does a server run on %s? go run ./examples/greeter -serve %[1]s", st.target)
	}
	return nil
}

// stage is what a show needs, and closes.
type stage struct {
	settings
	books    *ledger
	policies *policies
	page     *page
	servers  servers // nil: the target is another process
	closers  []func()
}

func (st *stage) onClose(f func()) { st.closers = append(st.closers, f) }

func (st *stage) close() {
	for _, f := range slices.Backward(st.closers) {
		f()
	}
}

// acts are those that the client is going to see.
func (st *stage) acts() []act { return acts(max(1, len(st.servers))) }

// dial makes the client, and first the servers, unless there is a target.
func (st *stage) dial(m observe.Observer) (*client, error) {
	own := []interceptors.Option{interceptors.WithObserver(m, st.books), interceptors.WithLogger(st.books.logger())}
	target, more := st.target, grpc.WithChainUnaryInterceptor(st.books.follow)
	if target == "" {
		var err error
		if st.servers, err = startServers(backendCount); err != nil {
			return nil, err
		}
		st.onClose(st.servers.close)
		st.books.know(st.servers.addrs())
		target, more = st.servers.target()
		own = append(own, interceptors.WithBalancing(demoBalancing(st.pace)))
	}
	own = append(own, st.policies.options...)
	if st.state != "" {
		store, err := state.File(st.state)
		if err != nil {
			return nil, err
		}
		st.onClose(func() { _ = store.Close() }) // which the suite does, if there comes to be one
		own = append(own, interceptors.WithStore(keptState{store, target, st.books}))
	}
	greeter, err := dial(target, own, more)
	if err != nil {
		return nil, err
	}
	st.onClose(greeter.close)
	return greeter, nil
}

// introduce says who plays.
func (st *stage) introduce(out io.Writer) {
	where := st.target
	for i, addr := range st.servers.addrs() {
		where += fmt.Sprintf("%s %s  ", backendName(i), addr)
	}
	fmt.Fprintf(out, "Greeter   %s\n", strings.TrimSpace(where))
	fmt.Fprintf(out, "metrics   %s\n", st.page.url)
	fmt.Fprintf(out, "status    %s\n", st.page.status)
	fmt.Fprintf(out, "client    %d calls/s, each within %v; in the last act %d streams/s too\n", callsPerSecond, callDeadline, streamsPerSecond)
	fmt.Fprintf(out, "policy    %s\n", st.policies.said)
	if st.state != "" {
		fmt.Fprintf(out, "state     in %s: kill this in the outage, start it again, and the breaker is still open\n", st.state)
	}
	if st.pace != 1 {
		fmt.Fprintf(out, "pace      %v times: calls come that much faster, waits are that much shorter\n", st.pace)
	}
	fmt.Fprintln(out)
}

func (st *stage) view(out io.Writer) *view {
	terminal := isTerminal(out)
	v := &view{
		ledger: st.books, out: out, terminal: terminal, palette: paletteFor(terminal),
		story: st.acts(), length: length(st.acts(), st.pace), burst: st.policies.burst, pace: st.pace,
	}
	if st.config != "" {
		v.again = st.policies.again
	}
	return v
}

// perform plays the story to its end, or until ctx ends; when it returns, every
// call has ended.
func (st *stage) perform(ctx context.Context, greeter *client, v *view) {
	var viewer, callers sync.WaitGroup
	over := make(chan struct{})
	viewer.Go(func() { v.watch(over) })
	defer viewer.Wait()
	defer close(over)

	defer callers.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	begin := func() {
		callers.Go(func() { load(ctx, greeter, st.pace) })
		callers.Go(func() { streams(ctx, greeter, st.books, st.pace) })
	}
	if st.servers == nil {
		begin()
		wait(ctx, v.length)
		return
	}
	story[0].play(st.servers) // before the first call
	st.books.enter(story[0].name)
	begin()
	playStory(ctx, st.servers, st.pace, st.books.enter, st.books.fixed)
}

// countAttempts fills in what the servers saw: of each act, as the attempts'
// headers name it, and in all.
func (s servers) countAttempts(acts []*tally) (all int) {
	for _, server := range s {
		for _, a := range server.Attempts(flakyserver.Any) {
			for _, t := range acts {
				if slices.Contains(a.Metadata.Get(actKey), t.name) {
					t.seen++
				}
			}
		}
		all += int(server.Stats(flakyserver.Any).Attempts)
	}
	return all
}

// serve runs the flaky server alone, telling its story again and again.
func serve(ctx context.Context, cfg settings, out io.Writer) error {
	s, err := flakyserver.Start(flakyserver.WithAddr(cfg.serve), flakyserver.WithLog(0))
	if err != nil {
		return cannotListen("the Greeter", cfg.serve, "-serve", err)
	}
	defer s.Close()
	fmt.Fprintf(out, "Greeter   %s, until Ctrl-C\n", s.Addr())
	fmt.Fprintf(out, "connect   go run ./examples/greeter -target %s\n\n", s.Addr())
	began := time.Now()
	for ctx.Err() == nil {
		playStory(ctx, servers{s}, cfg.pace, func(name string) {
			fmt.Fprintf(out, "%6.1f s  %s: %s\n", time.Since(began).Seconds(), name, aboutAct(name))
		}, nil) // one server has no act in which one of several goes bad
	}
	n := s.Stats(flakyserver.Any)
	fmt.Fprintf(out, "\nstopped: %d attempts came, %d were answered\n", n.Attempts, n.Served)
	return nil
}
