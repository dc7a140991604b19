package interceptors

import (
	"slices"
	"strings"
	"unicode"

	"github.com/astra-grpc/astra/internal/text"
)

// maxWarnedMethods is how many methods of one pattern a warning names.
const maxWarnedMethods = 5

// methods warns of what a policy does to methods that it is for.
func (w *warnings) methods(p Policy, patterns []string) {
	var writing, streaming []string
	for _, pattern := range patterns {
		for _, m := range methodsOf(pattern) {
			if p.Retry.MaxAttempts > 1 && p.Retry.Repeat == RepeatAny && !m.idempotent && writes(m.name) {
				writing = append(writing, m.name)
			}
			if p.Timeout > 0 && m.streams {
				streaming = append(streaming, m.name)
			}
		}
	}
	if len(writing) > 0 {
		w.add("repeat-not-idempotent", "Retry.Repeat", p.Retry.Repeat, "repeats requests that may have run, and so may make %s act twice: "+
			"declare idempotency_level in the .proto, or set Repeat to answered", list(writing))
	}
	if len(streaming) > 0 {
		w.add("timeout-on-stream", "Timeout", p.Timeout, "ends streams of %s, however well they are: use AttemptTimeout, which an answer stops", list(streaming))
	}
}

// list lists methods, as far as a sentence can.
func list(methods []string) string {
	slices.Sort(methods)
	return text.List(slices.Compact(methods), maxWarnedMethods)
}

// described is what is known of a method.
type described struct {
	name                string // "/pkg.Service/Method"
	idempotent, streams bool
}

// methodsOf returns the methods that a pattern names or, of a service whose
// descriptor the program has, matches. Those of "*" are everybody's, and none.
func methodsOf(pattern string) (all []described) {
	service, method, ok := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	if !ok {
		return nil
	}
	s := serviceNamed(service)
	if s == nil {
		if method != "*" {
			all = append(all, described{name: pattern})
		}
		return all
	}
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		if method == "*" || method == string(m.Name()) {
			all = append(all, described{"/" + service + "/" + string(m.Name()), idempotent(m), m.IsStreamingClient() || m.IsStreamingServer()})
		}
	}
	return all
}

// writing are the verbs that methods which change something begin with, after
// Google's AIPs 133 to 136 and what APIs use beside them.
var writing = []string{
	"Add", "Append", "Apply", "Book", "Buy", "Charge", "Commit", "Confirm", "Create", "Decrement", "Delete", "Deposit", "Do", "Enqueue", "Execute",
	"Increment", "Insert", "Issue", "Modify", "Mutate", "Order", "Patch", "Pay", "Place", "Post", "Publish", "Push", "Put", "Record", "Refund", "Register",
	"Remove", "Reserve", "Run", "Save", "Send", "Set", "Start", "Store", "Submit", "Transfer", "Trigger", "Txn", "Undelete", "Update", "Upload", "Upsert", "Withdraw", "Write",
}

// writes reports whether a method's name says that it changes something.
func writes(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	return slices.ContainsFunc(writing, func(verb string) bool {
		rest, ok := strings.CutPrefix(name, verb)
		return ok && (rest == "" || !unicode.IsLower(rune(rest[0])))
	})
}
