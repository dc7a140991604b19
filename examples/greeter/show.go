package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/state"
)

// show runs the client, and, without a target, the flaky server too; then the
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

	books := newLedger(cfg.pace)
	target, addr, server := cfg.target, cfg.target, (*flakyserver.Server)(nil)
	var more []grpc.DialOption
	if target == "" {
		server, err = flakyserver.Start(flakyserver.WithLog(serverLog))
		if err != nil {
			return err
		}
		defer server.Close()
		addr = server.Addr()
		target = addr
		if cfg.state != "" { // whose records go by the target: it must be the next run's, too
			target = "passthrough:///greeter"
			more = append(more, grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}))
		}
	} else {
		more = append(more, grpc.WithChainUnaryInterceptor(books.follow))
	}
	own := slices.Concat(policies.options, []interceptors.Option{interceptors.WithObserver(m, books), interceptors.WithLogger(books.logger())})
	if cfg.state != "" {
		store, err := state.File(cfg.state)
		if err != nil {
			return err
		}
		defer func() { _ = store.Close() }() // which the suite does, if there comes to be one
		own = append(own, interceptors.WithStore(keptState{store, target, books}))
	}
	greeter, err := dial(target, own, more...)
	if err != nil {
		return err
	}
	defer greeter.close()
	page.show(greeter.suite)
	ctx, end := context.WithCancel(ctx)
	defer end()
	if err := policies.follow(ctx, greeter.suite); err != nil && ctx.Err() == nil {
		return err
	}

	fmt.Fprintf(out, "Greeter   %s\n", addr)
	fmt.Fprintf(out, "metrics   %s\n", page.url)
	fmt.Fprintf(out, "status    %s\n", page.status)
	fmt.Fprintf(out, "client    %d calls/s, each within %v; in the last act %d streams/s too\n", callsPerSecond, callDeadline, streamsPerSecond)
	fmt.Fprintf(out, "policy    %s\n", policies.said)
	if cfg.state != "" {
		fmt.Fprintf(out, "state     in %s: kill this in the outage, start it again, and the breaker is still open\n", cfg.state)
	}
	if cfg.pace != 1 {
		fmt.Fprintf(out, "pace      %v times: calls come that much faster, waits are that much shorter\n", cfg.pace)
	}
	fmt.Fprintln(out)

	terminal := isTerminal(out)
	v := &view{
		ledger: books, out: out, terminal: terminal, palette: paletteFor(terminal),
		length: length(cfg.pace), burst: policies.burst, pace: cfg.pace,
	}
	if cfg.config != "" {
		v.again = policies.again
	}
	perform(ctx, cfg, books, greeter, server, v)

	s := summary{arrived: -1, url: page.url, early: ctx.Err() != nil, palette: v.palette}
	s.acts, s.streams = books.results()
	if server != nil {
		s.arrived = countAttempts(server, s.acts)
	}
	s.print(out)
	if all := s.total(); all.calls > 0 && all.goodput() == 0 && !s.early {
		return fmt.Errorf("no call was answered: does a server run on %s? go run ./examples/greeter -serve %[1]s", target)
	}
	return nil
}

// perform tells the story to its end, or until ctx ends; when it returns, every
// call has ended.
func perform(ctx context.Context, cfg settings, books *ledger, greeter *client, server *flakyserver.Server, v *view) {
	var viewer, callers sync.WaitGroup
	over := make(chan struct{})
	viewer.Go(func() { v.watch(over) })
	defer viewer.Wait()
	defer close(over)

	defer callers.Wait()
	ctx, end := context.WithCancel(ctx)
	defer end()
	begin := func() {
		callers.Go(func() { load(ctx, greeter, cfg.pace) })
		callers.Go(func() { streams(ctx, greeter, books, cfg.pace) })
	}
	if server == nil {
		begin()
		wait(ctx, length(cfg.pace))
		return
	}
	story[0].play(server) // before the first call
	books.enter(story[0].name)
	begin()
	tell(ctx, server, cfg.pace, books.enter)
}

// serverLog is more attempts than a story has.
const serverLog = 1 << 14

// countAttempts fills in what the server saw: of each act, as the attempts'
// headers name it, and in all.
func countAttempts(s *flakyserver.Server, acts []*tally) (all int) {
	for _, a := range s.Attempts(flakyserver.Any) {
		for _, t := range acts {
			if slices.Contains(a.Metadata.Get(actKey), t.name) {
				t.seen++
			}
		}
	}
	return int(s.Stats(flakyserver.Any).Attempts)
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
		tell(ctx, s, cfg.pace, func(name string) {
			fmt.Fprintf(out, "%6.1f s  %s: %s\n", time.Since(began).Seconds(), name, aboutAct(name))
		})
	}
	n := s.Stats(flakyserver.Any)
	fmt.Fprintf(out, "\nstopped: %d attempts came, %d were answered\n", n.Attempts, n.Served)
	return nil
}
