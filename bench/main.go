// Command bench shows what client policies do to success, load, tail and
// recovery, ours beside what people use today: one run, one machine, one
// report. It is a module of its own, so that the peers are nobody's
// dependencies but its own.
//
//	go -C bench run . -list
//	go -C bench run .                     all of it: about 25 minutes, best on a machine at rest
//	go -C bench run . -quick              all of it, in 3 minutes
//	go -C bench run . -run 'outage|tail'  some of it
//	go -C bench run . -compare bench-report/results.json
//
// It exits with 1 if a promise is not kept, unless -gates=warn. A promise about a
// time that was measured is a warning in any case: it depends on the machine. So is
// any of a scenario whose calls the machine could not make on schedule.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/real"
	"github.com/astra-grpc/astra/bench/report"
	"github.com/astra-grpc/astra/bench/sim"
)

// scenarios are all there are, in the order of the report.
func scenarios() []lab.Scenario {
	return append(real.Scenarios(), sim.Scenarios()...)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends it the hard way
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// What the program exits with.
const (
	exitOK    = 0
	exitGates = 1
	exitUsage = 2
	exitCut   = 130 // as shells report an interrupt
)

// settings are the command line.
type settings struct {
	list    bool
	pattern *regexp.Regexp
	quick   bool
	seed    uint64
	out     string
	results string
	old     *report.Report
	warn    bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	set, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return exitUsage
	}
	chosen := choose(scenarios(), set.pattern)
	if set.list {
		list(stdout, chosen)
		return exitOK
	}
	if len(chosen) == 0 {
		fmt.Fprintf(stderr, "bench: no scenario matches %q; -list names them\n", set.pattern)
		return exitUsage
	}
	return measure(ctx, set, chosen, args, stdout, stderr)
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&s.list, "list", false, "name the scenarios, and run nothing")
	pattern := flags.String("run", "", "run the scenarios whose `name` matches this regular expression")
	flags.BoolVar(&s.quick, "quick", false, "short runs, each once: 3 minutes for everything")
	flags.Uint64Var(&s.seed, "seed", 1, "of everything that is drawn by chance")
	flags.StringVar(&s.out, "out", "bench-report", "write the report to this `folder`")
	flags.StringVar(&s.results, "results", "", "write the tables that people quote, as Markdown, to this `file`")
	compare := flags.String("compare", "", "show what changed since this results.json `file`")
	gates := flags.String("gates", "fail", "fail: exit with 1 if a promise is not kept; warn: only say so")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		return s, fmt.Errorf("what is %q? Only flags are known", flags.Arg(0))
	case *gates != "fail" && *gates != "warn":
		return s, fmt.Errorf("-gates %q: want fail or warn", *gates)
	}
	s.warn = *gates == "warn"
	if s.pattern, err = regexp.Compile(*pattern); err != nil {
		return s, fmt.Errorf("-run: %w", err)
	}
	if *compare != "" { // before an hour is spent
		s.old, err = report.Read(*compare)
	}
	return s, err
}

func choose(all []lab.Scenario, pattern *regexp.Regexp) (chosen []lab.Scenario) {
	for _, s := range all {
		if pattern.MatchString(s.Name) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

func list(w io.Writer, all []lab.Scenario) {
	for _, s := range all {
		kind := "simulated"
		if s.Real {
			kind = "real"
		}
		fmt.Fprintf(w, "%-12s %-10s %s\n", s.Name, kind, s.Title)
	}
}

// measure runs scenarios one after the other, and reports them. What was found
// before an interrupt or an error is reported, too.
func measure(ctx context.Context, set settings, chosen []lab.Scenario, args []string, stdout, stderr io.Writer) int {
	r := &report.Report{
		Machine: report.ThisMachine(), Began: time.Now(), Quick: set.quick, Seed: set.seed,
		Command: strings.Join(append([]string{"go -C bench run ."}, args...), " "),
	}
	screen := report.Terminal{Out: stdout, Color: colored(stdout)}
	bar := newBar(stderr)
	var failure error
	for i, s := range chosen {
		found, err := one(ctx, set, s, bar, fmt.Sprintf("%d/%d %s", i+1, len(chosen), s.Name))
		if err != nil {
			failure = fmt.Errorf("%s: %w", s.Name, err)
			r.Cut = true
			break
		}
		r.Scenarios = append(r.Scenarios, *found)
		screen.Scenario(*found)
	}
	r.Seconds = time.Since(r.Began).Seconds()
	if set.old != nil {
		r.Changes = report.Compare(set.old, r)
	}
	if len(r.Scenarios) > 0 {
		screen.Summary(r)
	}
	if err := save(r, set, stdout); err != nil {
		failure = errors.Join(failure, err)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "bench: interrupted")
		return exitCut
	case failure != nil:
		fmt.Fprintln(stderr, "bench:", failure)
		return exitUsage
	case len(r.Missed()) > 0 && !set.warn:
		return exitGates
	}
	return exitOK
}

func one(ctx context.Context, set settings, s lab.Scenario, bar *bar, title string) (*report.Scenario, error) {
	begun := time.Now()
	bar.begin(title)
	defer bar.end()
	result, err := s.Run(ctx, lab.Options{Quick: set.quick, Seed: set.seed, Progress: bar.progress})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &report.Scenario{
		Name: s.Name, Title: s.Title, About: s.About, Real: s.Real, Seconds: time.Since(begun).Seconds(), Result: *result,
	}, nil
}

func save(r *report.Report, set settings, stdout io.Writer) error {
	if len(r.Scenarios) == 0 {
		return nil
	}
	page, err := r.Write(set.out)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nreport: %s\n", page)
	if set.results != "" {
		return report.WriteFile(set.results, r.Quotes)
	}
	return nil
}
