// Command greeter shows, live and in half a minute, how a client with an
// Astra suite lives through a bad day of its server: transient faults, which
// retries fix; an outage, in which the retry budget runs dry, the breaker
// opens and a fallback answers from a cache; the probes; the recovery; one of
// three backends that goes bad, which is left alone until it serves again; and
// streams that are cut, of which their callers notice nothing.
//
//	go run ./examples/greeter
//
// The two halves can be run as processes of their own, with a single server:
//
//	go run ./examples/greeter -serve 127.0.0.1:50051
//	go run ./examples/greeter -target 127.0.0.1:50051
//
// With -config the policies come from a file, and change when it is edited; with
// -state breakers and budgets outlive the process, be it killed.
//
// client.go is what the author of a service writes; the rest is the show.
//
// Exit codes: 0 the story was played, or Ctrl-C ended it (after which go run
// itself reports 1, whatever it ran); 1 an address or a file cannot be used,
// the policy file has faults, or no call was answered; 2 wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C is not waited for
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It ends when the story does or ctx.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	cfg, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if cfg.serve != "" {
		err = serve(ctx, cfg, stdout)
	} else {
		err = show(ctx, cfg, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "greeter:", err)
		return 1
	}
	return 0
}

// settings are what the flags say.
type settings struct {
	serve, target, metrics string
	config, state          string // files
	pace                   float64
}

const maxPace = 10

// parse reads the flags. What is wrong with them it has printed to stderr.
func parse(args []string, stderr io.Writer) (settings, error) {
	var cfg settings
	flags := cfg.flags(stderr)
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	err := cfg.fault(flags)
	if err != nil {
		fmt.Fprintln(stderr, "greeter:", err)
		flags.Usage()
	}
	return cfg, err
}

// flags are those that fill in the settings.
func (cfg *settings) flags(stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet("greeter", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&cfg.serve, "serve", "", "run only the flaky server, on this `address`, until Ctrl-C")
	flags.StringVar(&cfg.target, "target", "", "run only the client, against the server at this `address`")
	flags.StringVar(&cfg.metrics, "metrics", "127.0.0.1:0", "serve /metrics on this `address`; port 0: a free one")
	flags.StringVar(&cfg.config, "config", "", "take the policies from this `file`, and again when it changes; if there is none, write one")
	flags.StringVar(&cfg.state, "state", "", "keep breakers and budgets in this `file`, for the next run")
	flags.Float64Var(&cfg.pace, "pace", 1, fmt.Sprintf("play the story this many `times` faster, 1 to %d", maxPace))
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run ./examples/greeter [-serve address | -target address]\n\t[-metrics address] [-config file] [-state file] [-pace times]")
		flags.PrintDefaults()
	}
	return flags
}

// fault returns what is wrong with settings that were parsed.
func (cfg *settings) fault(flags *flag.FlagSet) error {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = f.Value.String() != "" })
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case given["serve"] && given["target"]:
		return errors.New("-serve and -target are two processes: give one of them")
	case !(cfg.pace >= 1 && cfg.pace <= maxPace): // NaN too
		return fmt.Errorf("-pace %v is out of range: want 1 to %d", cfg.pace, maxPace)
	}
	for _, f := range []struct{ name, what, needs string }{
		{"metrics", "are the client's", "an address"},
		{"config", "has the client's policies", "the name of a file"},
		{"state", "is of the client's breakers", "the name of a file"},
		{"serve", "", "an address"},
		{"target", "", "an address"},
	} {
		filled, ok := given[f.name]
		if ok && !filled {
			return fmt.Errorf("-%s needs %s", f.name, f.needs)
		}
		if ok && given["serve"] && f.what != "" {
			return fmt.Errorf("-%s %s: -serve has none", f.name, f.what)
		}
	}
	return nil
}

// cannotListen says, in one line, what cannot be served where, and what to do.
func cannotListen(what, addr, option string, err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err // without the address, which is printed already
	}
	return fmt.Errorf("cannot serve %s on %s: %w; choose another address with %s", what, addr, err, option)
}
