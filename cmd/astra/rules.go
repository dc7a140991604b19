package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/astra-grpc/astra/config"
)

// rule is one thing that lint looks for.
type rule struct {
	name   string
	fault  bool   // a suite rejects the file
	about  string // what it finds
	why    string
	source string
	marks  []string // of a fault: of the texts of package config that report it
}

// rules are all there are. Those of faults cannot be switched off: no program
// can read such a file. A fault of package config belongs to the first rule with
// a mark in its text, a warning has its rule's name.
var rules = []rule{
	{"duplicate-name", true, "two entries name the same methods", "which one holds would be chance", "service_config.proto, MethodConfig.name", []string{"which is named in line"}},
	{"said-twice", true, "a field is set by a key of gRPC and by one of astra", "they may disagree", "docs of package config", []string{"says again what"}},
	{"retry-and-hedge", true, "an entry retries and hedges", "a call is retried or hedged, not both", "gRFC A6", []string{"stands beside retryPolicy", "retried or hedged"}},
	{"unknown-key", true, "a key that nobody knows", "a misspelt key would do nothing", "docs of package config", []string{"is unknown"}},
	{"missing-key", true, "a key that must be there is not", "gRPC rejects such a policy", "gRFC A6", []string{"is missing"}},
	{"invalid", true, "a value of the wrong type or out of range, or a file that cannot be read", "no suite takes it", "interceptors.Policy", []string{""}},

	{"cut-value", false, "a value that counts as another", "the file says what does not happen", "gRFC A6", nil},
	{"channel-key", false, "a key that only the channel can honour", "the suite does nothing with it", "service_config.proto", nil},
	{"unnamed-entry", false, "an entry for no method", "it does nothing", "service_config.proto, MethodConfig.name", nil},
	{"attempt-never-starts", false, "an attempt that would begin after the call's timeout", "the policy promises attempts that it does not make", "interceptors.Policy.Warnings", nil},
	{"hedge-never-starts", false, "a hedge that is due when its call is over", "hedging does nothing then", "interceptors.Policy.Warnings", nil},
	{"budget-too-small", false, "a budget that does not pay for one call's attempts", "the last attempts are never made", "interceptors.Policy.Warnings", nil},
	{"slow-never-seen", false, "slow calls, or timeouts, that the breaker cannot see", "attempts end before, or seldom meet in the window", "interceptors.Policy.Warnings", nil},
	{"breaker-too-short", false, "a breaker that is open for less than the first backoff", "the server has less rest than one retry gives it", "interceptors.Policy.Warnings", nil},
	{"probe-outlived", false, "a call that may last longer than a probe's place is kept", "others join the probe then", "interceptors.Policy.Warnings", nil},
	{"queue-without-end", false, "a queue in which calls wait until they have no time left", "hardly a call succeeds when more come than go", "interceptors.Policy.Warnings", nil},
	{"code-never-retried", false, "a backoff for what is not retried", "it does nothing", "interceptors.Policy.Warnings", nil},
	{"repeat-not-idempotent", false, "requests that may have run are repeated or hedged, though the method is not declared idempotent", "it may act twice", "descriptor.proto, MethodOptions.idempotency_level; AIP-194", nil},
	{"timeout-on-stream", false, "a timeout of the call on a streaming method", "it ends healthy streams; attemptTimeout stops at the first answer", "interceptors.Policy", nil},

	{"unknown-method", false, "a name that no service of the descriptors has", "its policy holds for nobody", "with -descriptors", nil},
	{"uncovered-method", false, "a method that no entry names", "it has the default policy, which nobody chose for it", "with -descriptors", nil},
	{"hedge-write", false, "hedging of a method that is not declared idempotent", "two attempts run at once", "gRFC A6; with -descriptors", nil},
}

// ruleOf returns the rule of a fault or a warning of package config.
func ruleOf(f config.Fault, fault bool) rule {
	if r, ok := ruleNamed(f.Rule); ok && !fault {
		return r
	}
	for _, r := range rules {
		if r.fault && fault && slices.ContainsFunc(r.marks, func(m string) bool { return strings.Contains(f.Problem, m) }) {
			return r
		}
	}
	return rule{name: "warning", about: "a warning of package config", why: f.Problem, source: "config.Document.Warnings"}
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
