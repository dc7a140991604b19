package config

import "github.com/astra-grpc/astra/interceptors"

// Origin is a place in a document.
type Origin struct {
	Line, Column int
	Key          string // in full: "methodConfig[0].retryPolicy.maxAttempts"
	Value        string // as written; "" of an object
}

// Entry is a policy of a document, for one of its patterns.
type Entry struct {
	Pattern string // "/pkg.Service/Method", "/pkg.Service/*" or "*"
	Policy  interceptors.Policy
	Origin  Origin // of the entry; of retryThrottling, if no entry is for all methods

	of *entry
}

// Entries returns the policies in the document's order, one for each pattern:
// an entry with two names is two of them.
func (d *Document) Entries() (all []Entry) {
	for _, e := range d.entries {
		for _, pattern := range e.patterns {
			all = append(all, Entry{Pattern: pattern, Policy: e.policy, Origin: originOf(e.origins[""]), of: e})
		}
	}
	return all
}

// Of returns where the document sets a field of the policy,
// "Retry.MaxAttempts"; ok is false if it does not: the field then has its
// default.
func (e Entry) Of(field string) (o Origin, ok bool) {
	from, ok := e.of.origins[field]
	if !ok {
		return Origin{}, false
	}
	return originOf(from), true
}

func originOf(v value) Origin {
	at := v.place()
	o := Origin{Line: at.line, Column: at.column, Key: v.at.String()}
	if v.node != nil {
		o.Value = v.written()
	}
	return o
}
