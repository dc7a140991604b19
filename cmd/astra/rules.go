package main

import (
	"flag"
	"fmt"
	"slices"
)

// rule is one thing that lint looks for.
type rule struct {
	name   string
	fault  bool   // a suite rejects the file
	about  string // what it finds
	why    string
	source string
}

// rules are all there are. Those of faults cannot be switched off: no program
// can read such a file.
var rules = []rule{
	{"duplicate-name", true, "two entries name the same methods", "which one holds would be chance", "service_config.proto, MethodConfig.name"},
	{"said-twice", true, "a field is set by a key of gRPC and by one of astra", "they may disagree", "docs of package config"},
	{"retry-and-hedge", true, "an entry retries and hedges", "a call is retried or hedged, not both", "gRFC A6"},
	{"unknown-key", true, "an unknown key", "a misspelt key would do nothing", "docs of package config"},
	{"missing-key", true, "a key that must be there is not", "gRPC rejects such a policy", "gRFC A6"},
	{"invalid", true, "a value of the wrong type or out of range, or a file that cannot be read", "no suite takes it", "interceptors.Policy"},

	{"cut-value", false, "a value that counts as another", "the file says what does not happen", "gRFC A6"},
	{"channel-key", false, "a key that only the channel can honour", "the suite does nothing with it", "service_config.proto"},
	{"unnamed-entry", false, "an entry for no method", "it does nothing", "service_config.proto, MethodConfig.name"},
	{"attempt-never-starts", false, "an attempt that would begin after the call's timeout", "the policy promises attempts that it does not make", "interceptors.Policy.Warnings"},
	{"hedge-never-starts", false, "a hedge that is due when its call is over", "hedging does nothing then", "interceptors.Policy.Warnings"},
	{"budget-too-small", false, "a budget that does not pay for one call's attempts", "the last attempts are never made", "interceptors.Policy.Warnings"},
	{"slow-never-seen", false, "slow calls, or timeouts, that the breaker cannot see", "attempts end before, or seldom meet in the window", "interceptors.Policy.Warnings"},
	{"breaker-too-short", false, "a breaker that is open for less than the first backoff", "the server has less rest than one retry gives it", "interceptors.Policy.Warnings"},
	{"probe-outlived", false, "a call that may last longer than a probe's place is kept", "others join the probe then", "interceptors.Policy.Warnings"},
	{"queue-without-end", false, "a queue in which calls wait until they have no time left", "hardly a call succeeds when more come than go", "interceptors.Policy.Warnings"},
	{"code-never-retried", false, "a backoff for what is not retried", "it does nothing", "interceptors.Policy.Warnings"},
	{"repeat-not-idempotent", false, "requests that may have run are repeated or hedged, though the method is not declared idempotent", "it may act twice", "descriptor.proto, MethodOptions.idempotency_level; AIP-194"},
	{"timeout-on-stream", false, "a timeout of the call on a streaming method", "it ends healthy streams; attemptTimeout stops at the first answer", "interceptors.Policy"},

	{"unknown-method", false, "a name that no service of the descriptors has", "its policy applies to no call", "with -descriptors"},
	{"uncovered-method", false, "a method that no entry names", "it has the default policy, which may not suit it", "with -descriptors"},
	{"hedge-write", false, "hedging of a method that is not declared idempotent", "two attempts run at once", "gRFC A6; with -descriptors"},
}

func ruleNamed(name string) (rule, bool) {
	i := slices.IndexFunc(rules, func(r rule) bool { return r.name == name })
	if i < 0 {
		return rule{}, false
	}
	return rules[i], true
}

var rulesCommand = command{
	name: "rules", args: "", short: "list what lint looks for, and why",
	long: `Rules lists the rules of lint: name, what each finds, why that matters, and where
it is said. Those marked "fault" make a suite reject the file, and cannot be
switched off.`,
	setup: func(*flag.FlagSet) func(*streams, []string) error {
		return func(s *streams, args []string) error {
			if len(args) > 0 {
				return usagef("%q: want no argument", args[0])
			}
			for _, r := range rules {
				kind := "warning"
				if r.fault {
					kind = "fault"
				}
				fmt.Fprintf(s.out, "%s (%s)\n    finds   %s\n    because %s\n    source  %s\n", r.name, kind, r.about, r.why, r.source)
			}
			return nil
		}
	},
}
