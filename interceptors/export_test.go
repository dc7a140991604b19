package interceptors

// ReplayBytes returns what the suite's streams keep to send again, for tests.
func (s *Suite) ReplayBytes() int64 { return s.replay.Load() }
