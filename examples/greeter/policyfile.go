package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// policies are where the client's come from: a file, or demoPolicy.
type policies struct {
	path    string // "": demoPolicy
	pace    float64
	options []interceptors.Option
	said    string // of them, before the story
	burst   float64
}

// readPolicies reads the file, which it writes first if there is none. The error
// reports every fault.
func readPolicies(path string, pace float64) (*policies, error) {
	if path == "" {
		p := demoPolicy(pace)
		return &policies{pace: pace, options: []interceptors.Option{interceptors.WithPolicy(p)}, said: knobs, burst: p.Budget.Burst}, nil
	}
	written, err := writeIfNone(path, defaultFile(pace))
	if err != nil {
		return nil, fmt.Errorf("cannot write a policy file: %w; choose another with -config", err)
	}
	doc, err := config.DecodeFile(path)
	if err != nil {
		return nil, fmt.Errorf("-config: fix the file, or name one that does not exist, which is then written:\n%w", err)
	}
	p := &policies{path: path, pace: pace, options: doc.Options(), said: "from " + path + ": edit it while this runs", burst: burstOf(doc)}
	if written {
		p.said += "\n          (it was not there, and says now what holds without it)"
	}
	return p, nil
}

// follow makes the suite's policies those of the file until ctx ends.
func (p *policies) follow(ctx context.Context, s *interceptors.Suite) error {
	if p.path == "" {
		return nil
	}
	return config.Watch(ctx, p.path, s)
}

// again returns what a full budget holds now that policies were replaced.
func (p *policies) again() float64 {
	if doc, err := config.DecodeFile(p.path); err == nil { // or it was edited since: that will be reported, too
		p.burst = burstOf(doc)
	}
	return p.burst
}

// burstOf returns what a full budget of sayHello holds; 0: it has none.
func burstOf(doc *config.Document) float64 {
	const byDefault = 50
	all := doc.Policies()
	for _, pattern := range []string{sayHello, "/helloworld.Greeter/*", "*"} {
		if p, ok := all[pattern]; ok && p.Budget.Disabled {
			return 0
		} else if ok {
			return cmp.Or(p.Budget.Burst, byDefault)
		}
	}
	return byDefault
}

// writeIfNone makes a file, but never over another.
func writeIfNone(path, text string) (written bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.WriteString(text)
	return true, errors.Join(err, f.Close())
}

// defaultFile says what demoPolicy says.
func defaultFile(pace float64) string {
	p := demoPolicy(pace)
	return fmt.Sprintf(`# What the greeter's client does when calls fail: gRPC's service config, with
# an object astra in its entries. Save this file, and what it says holds at once.
# "go doc ./config" describes the whole grammar.

methodConfig:
  - name: [{}]              # all methods; {service: helloworld.Greeter} for one service
    astra:
      # attemptTimeout: 100ms
      retry:
        # maxAttempts: 3      # attempts in all; this is the default
        backoff:
          base: %-9v   # of the first wait; the default is 500ms
      budget:
        burst: %-11v # retries in a row, then minPerSecond; the default is 50
        minPerSecond: %v
      breaker:
        # consecutive: 7      # failures in a row that open it; this is the default
        openFor: %v
        maxOpenFor: %-7v # the default is 60s
  # - name: [{service: helloworld.Greeter, method: SayHello}]
  #   astra: {breaker: {consecutive: 3}}    # no retry in it: not retried
`, p.Retry.Backoff.Base, p.Budget.Burst, p.Budget.MinPerSecond, p.Breaker.OpenFor, p.Breaker.MaxOpenFor)
}
