// Package config reads policies from a file, and updates a suite's policies
// when the file changes:
//
//	suite, err := interceptors.New(interceptors.WithObserver(m))
//	…
//	if err := config.Watch(ctx, "/etc/app/policy.yaml", suite); err != nil {
//
// [Parse] and [Load] convert a document to options for [interceptors.New];
// [Decode] and [DecodeFile] return its warnings, too; [Schema] is for editors.
//
// # The document
//
// The document is gRPC's service config, in JSON or YAML (service_config.proto
// in grpc-proto; gRFC A6), with an additional object, astra, in its entries.
// gRPC ignores unknown keys, so the same JSON can be given to a channel.
//
//	methodConfig:
//	- name: [{service: pkg.Service, method: Get}]
//	  timeout: 2s
//	  retryPolicy:
//	    maxAttempts: 4
//	    initialBackoff: 0.05s
//	    maxBackoff: 1s
//	    backoffMultiplier: 2
//	    retryableStatusCodes: [UNAVAILABLE]
//	  astra:
//	    attemptTimeout: 500ms
//	    breaker: {consecutive: 5, openFor: 2s}
//	- name: [{service: pkg.Service}]
//	  astra: {hedge: {maxAttempts: 2, delay: 50ms}}
//	- name: [{}]
//	  astra: {retry: {}}
//	retryThrottling: {maxTokens: 100, tokenRatio: 0.1}
//	balancing: {policy: p2c, eject: {consecutive: 5}}
//
// Balancing is interceptors.Balancing, for all targets of the suite. A file
// with it needs a suite that was created with it, from this file or by
// interceptors.WithBalancing. A file without it leaves a suite's balancing as
// it is.
//
// An entry of methodConfig is a whole policy. Its name lists the methods: one,
// {service, method}; those of a service, {service}; or all, {}. The most
// specific entry applies, and nothing is merged. No two entries may have the
// same name. Methods that no entry names have the default policy.
//
// What an entry leaves out has its default, with one exception: as in gRPC,
// calls are retried only if the entry has retryPolicy or astra.retry (and
// hedged only if it has hedgingPolicy or astra.hedge). To have the default
// retries, write "astra: {retry: {}}".
//
// # Keys of gRPC
//
//	timeout                  Policy.Timeout
//	retryPolicy              Policy.Retry; all five keys are required
//	  maxAttempts            MaxAttempts: 2 or more; above 100 counts as 100
//	  initialBackoff         Backoff.Base: > 0s; above maxBackoff counts as that
//	  maxBackoff             Backoff.Max: > 0s
//	  backoffMultiplier      Backoff.Multiplier: > 0; below 1 counts as 1
//	  retryableStatusCodes   Codes: one or more
//	hedgingPolicy            Policy.Hedge; not beside retryPolicy. An entry for a service
//	                         or all hedges what is declared idempotent; one that names
//	                         the method hedges it: see interceptors.Hedge
//	  maxAttempts            MaxAttempts: 2 or more; above 10 counts as 10; required
//	  hedgingDelay           Delay: ≥ 0s. 0s, or left out, starts all at once: 1 ns here,
//	                         as our 0 is the method's own 95th percentile
//	  nonFatalStatusCodes    NonFatal. None, or left out: every code is fatal
//	retryThrottling          Policy.Budget of every entry, as far as its own
//	                         astra.budget says nothing; both keys are required
//	  maxTokens              Burst is half of it, 1 at least: above 0, up to 1000
//	  tokenRatio             Ratio: ≥ 0.001; decimals beyond three are cut; above 10
//	                         counts as 10
//	loadBalancingConfig, loadBalancingPolicy, healthCheckConfig,
//	connectionScaling, waitForReady, maxRequestMessageBytes,
//	maxResponseMessageBytes  accepted, whatever they hold: only the channel can
//	                         honour them. A warning names each once
//
// These are A6's rules. Where it lets a client cut a value instead of rejecting
// the document, as it does above 5 attempts, it is cut to our range, with a
// warning.
//
// Keys of gRPC may be in any case, as grpc-go reads them: MaxAttempts is
// maxAttempts, and a document that has both is at fault. The keys of astra and
// balancing must be spelled as here.
//
// A6 spreads a backoff by ±20 %, which no strategy of package jitter does; the
// imported backoff has the default, full, of ±50 %: both are spread evenly
// around the schedule, the wider one scatters callers better.
// astra.retry.backoff.jitter selects another.
//
// A6's throttle lets a client retry while more than half of maxTokens is left,
// so half of it may be spent in a row: Burst. tokenRatio is what a success
// adds, in both. In A6 a failed first attempt spends a token, too; here only
// retries do, and time adds MinPerSecond tokens, unless astra.budget says
// otherwise. In both, all methods of a target share one budget.
//
// # Our keys
//
// In an entry, astra holds any field of [interceptors.Policy], under its Go name
// in lower camel case, and structs within it as objects:
//
//	timeout, attemptTimeout
//	retry      maxAttempts, repeat, codes, idempotentCodes, bufferBytes
//	  backoff  base, max, multiplier, jitter
//	  perCode  an object for each code: base, max, multiplier, jitter
//	hedge      maxAttempts, delay, nonFatal
//	breaker    disabled, mode, failureRate, minCalls, window, consecutive,
//	           slowCall, slowRate, openFor, maxOpenFor, probeShare, probes,
//	           failures
//	budget     disabled, ratio, minPerSecond, burst
//	limit      mode, maxConcurrent, adaptive, maxQueue, maxWait, rate, burst
//
// To write retry, be it empty, is to ask for retries: repeat is then any, unless
// it says otherwise.
//
// Ranges are those of the policy's Validate. Zero, which stands for the default
// in Go, is a fault in a file: leave the key out. A list of codes must not be
// empty, except that of hedge.nonFatal: then every code is fatal. A field must
// not be set by a key of gRPC and by one of astra in the same entry; keys of
// different fields are combined, as in the first entry above.
//
// # Chaos
//
// chaos, beside methodConfig, is a plan of package chaos: faults that are
// injected into attempts, for a drill in staging.
//
//	start      a time (RFC 3339), when the window begins; left out: when the document
//	           is read first, and so at each start of the program
//	for        how long the window is, up to 24h; required
//	seed       draws the attempts concerned
//	faults     method (a pattern), kind (latency, status, unsent, reset, hang, corrupt)
//	           and share are required; from, for; latency, spread; code, message,
//	           retryInfo, pushback; after
//
// [Parse], [Load] and [Watch] refuse a document with it, except Watch with an
// injector that has the program's consent ([WithChaos]). [Decode] accepts it.
//
// # Values
//
//   - Durations are proto-JSON's: seconds with up to 9 decimals and an s, "1.5s",
//     also ".5s", up to 315576000000s; what is longer than a century counts as
//     that. Our keys take Go's, too: "250ms", "1h30m".
//   - Numbers are decimal. Where a whole one is wanted, 4.0 is one.
//   - Status codes are names, in any case, as gRPC spells them
//     (DEADLINE_EXCEEDED) or Go (DeadlineExceeded), or numbers. OK is no
//     failure.
//   - jitter is one of full, equal, decorrelated, none, aws-full,
//     aws-decorrelated.
//   - mode is enforce or observe.
//   - null is a fault, except as a service or method, where it means none.
//   - $schema may name the schema, for editors.
//
// Of YAML, one document with strings for keys. Anchors, aliases and merge keys
// (<<) work; what stands in an object counts more than what is merged into it.
// A document has 1 MiB at most, 100,000 values with all that aliases stand for,
// and 50 levels.
//
// # Faults
//
// All of them are reported at once, in the document's order, each a [*Fault]
// with line, column, key, value and what is wanted:
//
//	policy.yaml:7:20: methodConfig[0].retryPolicy.maxAttempts: 1 is out of range: want 2 or more
//	policy.yaml:9:5: methodConfig[0].retry_policy: is unknown: did you mean retryPolicy?
//
// Unknown keys, duplicate keys, wrong types, and empty or truncated files are
// faults. So are violations of rules between fields: attemptTimeout must not be
// above timeout, nor maxBackoff below the base, nor maxOpenFor below openFor;
// slowRate needs slowCall; an entry retries or hedges, not both; perCode names
// codes that are retried. What is allowed but has no effect is a warning: see
// [interceptors.Policy.Warnings]. A method that its service does not have is
// logged by the suite: see [interceptors.WithMethodPolicy].
package config
