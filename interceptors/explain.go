package interceptors

import "github.com/astra-grpc/astra/internal/text"

// Explanation is which policy a method's calls have, and why that one.
type Explanation struct {
	Target string         `json:"target"`
	Method string         `json:"method"`
	Policy PolicySnapshot `json:"policy"`
	// Patterns are those that name the method, the most specific, which holds,
	// first: "/pkg.Service/Method", "/pkg.Service/*", "*".
	Patterns []string `json:"patterns"`
	// Idempotent is true if the method's descriptor, linked into this program,
	// declares it NO_SIDE_EFFECTS or IDEMPOTENT.
	Idempotent bool `json:"idempotent"`
	// Descriptor is true if the program has it.
	Descriptor bool `json:"descriptor"`
	// Used is true if a call has asked for the pair, and the suite remembers it.
	Used bool `json:"used"`
	// Warnings are those of the policy: see [Policy.Warnings].
	Warnings []string `json:"warnings"`
}

// Explain returns which policy the calls of a method on a target have. The method
// is a full name, "/pkg.Service/Method", and need not have been called.
func (s *Suite) Explain(target, method string) Explanation {
	known, idempotent := describe(method)
	e := Explanation{
		Target: text.Name(target), Method: text.Name(method),
		Idempotent: idempotent, Descriptor: known, Used: s.known(target, method) != nil,
		Patterns: []string{}, Warnings: []string{},
	}
	s.mu.Lock()
	c, _ := s.policyLocked(method, idempotent)
	for _, pattern := range patternsOf(method) {
		if s.policies[pattern] != nil {
			e.Patterns = append(e.Patterns, pattern)
		}
	}
	generation := s.revision.Generation
	s.mu.Unlock()
	e.Policy = c.snapshot("p1", generation)
	for _, w := range c.raw.Warnings() {
		e.Warnings = append(e.Warnings, w.Error())
	}
	return e
}
