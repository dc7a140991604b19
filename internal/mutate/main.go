// Command mutate changes the code of packages, one small change at a time, and
// sees whether their tests notice:
//
//	go run ./internal/mutate -sample 50 -write docs/reliability.md internal/breaker internal/budget
//
// Mutants are compiled with go test -c -overlay, so that no file is touched, as many as
// can be into one program. Each meets the short tests of its package, and of those that tests.txt names. It is
// killed if a test fails twice, the second time alone, so that a busy machine kills
// none; or if the tests do not end in time. It survives otherwise; one that does not
// compile does not count. Survivors are for a person to look at: each is a hole in
// the tests, or equivalent, that is, it behaves as the code does. Those are listed,
// with the reason, in equivalent.txt, and count no more.
//
// A sample that was drawn before its survivors were looked at is no measure of the
// tests written for them: draw another, with -seed, for the score.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	sample  int
	seed    uint64
	jobs    int
	timeout time.Duration
	write   string
	only    string
	dirs    []string
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("mutate", flag.ContinueOnError)
	f.IntVar(&o.sample, "sample", 0, "mutants of a package at most, drawn by chance; 0: all")
	f.Uint64Var(&o.seed, "seed", 1, "of the sample")
	f.IntVar(&o.jobs, "jobs", max(runtime.NumCPU()/2, 1), "mutants tried at a time")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "of a package's tests with a mutant, at most: ten times what they take without, and ten seconds")
	f.StringVar(&o.write, "write", "", "the document whose table is to have the results, beside those of other packages")
	f.StringVar(&o.only, "only", "", "mutants that match this regular expression as they are printed, such as 'tee.go:' or 'tee.go:72:'")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.dirs = f.Args()
	if len(o.dirs) == 0 {
		return o, fmt.Errorf("no packages: want directories, such as internal/breaker")
	}
	return o, nil
}

func run(args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	known, err := readEquivalents(equivalentsFile)
	if err != nil {
		return err
	}
	more, err := readTests(testsFile)
	if err != nil {
		return err
	}
	for _, dir := range o.dirs {
		all, err := mutantsOf(dir, o.only)
		if err != nil {
			return err
		}
		drawn := pick(all, o)
		r := result{dir: dir, seed: o.seed, sampled: len(drawn) < len(all), all: len(all)}
		for _, m := range drawn {
			m.tests = more.of(m)
		}
		built, clean, err := build(dir, drawn, o, out)
		if err != nil {
			return err
		}
		for _, m := range try(drawn, built, o, out) {
			r.add(m, known)
		}
		clean()
		r.print(out)
		if o.write != "" {
			if err := replaceTable(o.write, []result{r}); err != nil {
				return err
			}
		}
	}
	return nil
}

// pick draws the sample.
func pick(all []*mutant, o options) []*mutant {
	if o.sample <= 0 || o.sample >= len(all) {
		return all
	}
	rng := rand.New(rand.NewPCG(o.seed, 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:o.sample]
}

// try tries all mutants, and prints what survives when it does: the run may be long.
func try(all []*mutant, built programs, o options, out io.Writer) []*mutant {
	var (
		running sync.WaitGroup
		mu      sync.Mutex // guards out and done
		done    int
	)
	work := make(chan *mutant)
	for range o.jobs {
		running.Go(func() {
			for m := range work {
				m.try(built)
				mu.Lock()
				if done++; m.err == nil && m.fate == survived {
					fmt.Fprintf(out, "%d of %d: %v\n", done, len(all), m)
				}
				mu.Unlock()
			}
		})
	}
	for _, m := range all {
		work <- m
	}
	close(work)
	running.Wait()
	return all
}
