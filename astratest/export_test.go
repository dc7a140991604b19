package astratest

// Validate is validate, for tests.
func (s Scenario) Validate() error { return s.validate() }
