package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/metrics"
)

// show runs the client, and, without a target, the flaky server too; then the
// summary.
func show(ctx context.Context, cfg config, out io.Writer) error {
	m := metrics.New()
	page, err := servePage(cfg.metrics, m)
	if err != nil {
		return err
	}
	defer page.close()

	books := newLedger(cfg.pace)
	target, server := cfg.target, (*flakyserver.Server)(nil)
	var more []grpc.DialOption
	if target == "" {
		server, err = flakyserver.Start(flakyserver.WithLog(serverLog))
		if err != nil {
			return err
		}
		defer server.Close()
		target = server.Addr()
	} else {
		more = append(more, grpc.WithChainUnaryInterceptor(books.follow))
	}
	policy := demoPolicy(cfg.pace)
	greeter, err := dial(target, policy, []interceptors.Observer{m, books}, more...)
	if err != nil {
		return err
	}
	defer greeter.close()

	fmt.Fprintf(out, "Greeter   %s\n", target)
	fmt.Fprintf(out, "metrics   %s\n", page.url)
	fmt.Fprintf(out, "client    %d calls/s, each within %v; in the last act %d streams/s too\n", callsPerSecond, callDeadline, streamsPerSecond)
	fmt.Fprintf(out, "policy    %s\n", knobs)
	if cfg.pace != 1 {
		fmt.Fprintf(out, "pace      %v times: calls come that much faster, waits are that much shorter\n", cfg.pace)
	}
	fmt.Fprintln(out)

	terminal := isTerminal(out)
	v := &view{
		ledger: books, out: out, terminal: terminal, palette: paletteFor(terminal),
		length: length(cfg.pace), burst: policy.Budget.Burst, pace: cfg.pace,
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
func perform(ctx context.Context, cfg config, books *ledger, greeter *client, server *flakyserver.Server, v *view) {
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
func serve(ctx context.Context, cfg config, out io.Writer) error {
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
