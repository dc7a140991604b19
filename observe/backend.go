package observe

// Backend is what a suite that balances load knows of one of a target's
// backends, at a moment.
type Backend struct {
	// Address is the endpoint's first.
	Address string
	// State is BreakerClosed if it gets its share of the calls, BreakerOpen if
	// it is ejected or drained, and BreakerHalfOpen if probes are to find out
	// whether it serves again. Where too many are ejected, none is believed to
	// be out, and all get calls.
	State BreakerState
	// Ready reports whether a connection to it is ready.
	Ready bool
	// InFlight is how many attempts, of all connections, wait for it.
	InFlight int
	// Succeeded, Failed and Other are how many attempts ended so: on a backend
	// that serves, by its failure, or neither, as by their caller's
	// cancellation.
	Succeeded, Failed, Other uint64
	// WouldAvoid is how many attempts would have gone elsewhere, did ejections
	// not only observe.
	WouldAvoid uint64
	// Ejections are how often it was ejected, or drained by hand, by reason. A
	// probe that failed ejects again.
	Ejections map[Reason]uint64
	// Of identifies the backend: it is comparable, and equal in what several
	// methods report of one backend.
	Of any
}

// BackendSource is implemented by a [Source] whose suite balances load.
type BackendSource interface {
	// Backends documents itself by [Endpoint.Backends].
	Backends() []Backend
}

// Backends returns the backends of the endpoint's target, by address; nil if the
// suite does not balance load, or no call has been made. All methods of a target
// have the same.
func (e Endpoint) Backends() []Backend {
	if s, ok := e.source.(BackendSource); ok {
		return s.Backends()
	}
	return nil
}
