package interceptors

// ReplayBytes returns what the suite's streams keep to send again, for tests.
func (s *Suite) ReplayBytes() int64 { return s.replay.Load() }

// WithLockHeld does something while the suite's lock is held.
func (s *Suite) WithLockHeld(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}
