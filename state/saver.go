package state

import (
	"errors"
	"io/fs"
	"math"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

const (
	lookEvery  = time.Second      // at budgets, and whether it is time to try again
	quietFor   = time.Second      // after a change was saved: in an outage probes bring ten a second
	retryAfter = 10 * time.Second // what could not be saved
)

// restore reads the file and hands the suite what is in it.
func (s *store) restore() {
	result, err := s.read()
	switch log := s.live.Logger(); {
	case err == nil:
	case errors.Is(err, errOld):
		log.Info("astra: state file is too old and is replaced: breakers and budgets start fresh", "path", s.path, "err", err)
	case errors.Is(err, errAhead):
		log.Warn("astra: state file was saved in the future and is replaced: breakers and budgets start fresh; check the clock", "path", s.path, "err", err)
	default:
		s.reject = err
		name, missed := "", s.have()
		if missed == nil {
			name, missed = s.discard()
		}
		log.Warn("astra: state file is unusable: breakers and budgets start fresh",
			"path", s.path, "err", err, "moved_to", name, "not_moved", missed)
	}
	s.live.Notify(observe.SuiteEvent{Kind: observe.StateRestored, Result: result, Err: err})
}

// read returns an error if the file cannot be used: it must be set aside, except
// if that is [errOld] or [errAhead].
func (s *store) read() (result observe.SuiteResult, err error) {
	data, err := s.disk.Read(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return observe.ResultAbsent, nil
	case err != nil:
		return observe.ResultFailed, err
	}
	doc, err := decode(data)
	if err != nil {
		return observe.ResultRejected, err
	}
	st, err := doc.state(s.now())
	if err != nil {
		return observe.ResultStale, err
	}
	s.live.Restore(st)
	return observe.ResultSuccess, nil
}

// discard sets the file aside, which has to be done before it is written.
func (s *store) discard() (name string, err error) {
	if name, err = setAside(s.disk, s.path); err == nil {
		s.reject = nil
	}
	return name, err
}

// run saves until the store is closed. The first time shows that it can, or
// that the directory is not writable, before an outage does.
func (s *store) run() {
	defer close(s.done)
	defer s.unlock()
	s.save()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-s.wake:
			s.save()
			s.rest()
		case <-look.C:
			if s.due() {
				s.save()
				s.rest()
			}
		case <-s.stop:
			s.save()
			return
		}
	}
}

// rest lets changes that come together be saved together.
func (s *store) rest() {
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	select {
	case <-quiet.C:
	case <-s.stop:
	}
}

// have takes the lock, if that could not be done before.
func (s *store) have() (err error) {
	if s.release == nil {
		s.release, err = lock(s.lockName())
	}
	return err
}

func (s *store) unlock() {
	if s.release != nil {
		s.release()
	}
}

func (s *store) save() {
	st := s.live.State()
	err := s.write(st)
	s.tried = time.Now()
	n := observe.SuiteEvent{Kind: observe.StateSaved, Result: observe.ResultSuccess, Err: err}
	switch log := s.live.Logger(); {
	case err == nil:
		s.saved = st
		if s.fault != nil {
			log.Info("astra: state is saved again", "path", s.path)
		}
	case s.fault == nil:
		log.Warn("astra: saving state failed: a restart would start fresh", "path", s.path, "err", err)
	}
	if err != nil {
		n.Result = observe.ResultFailed
	}
	s.fault = err
	s.live.Notify(n)
}

func (s *store) write(st interceptors.State) error {
	if err := s.have(); err != nil {
		return err
	}
	if s.reject != nil {
		if _, err := s.discard(); err != nil {
			return err
		}
	}
	data, err := encode(st, s.now())
	if err != nil {
		return err
	}
	return replace(s.disk, s.path, data)
}

// due reports whether the file would give back something else than there is.
// Breakers report their own.
func (s *store) due() bool {
	passed := time.Since(s.tried)
	if s.fault != nil {
		return passed >= retryAfter
	}
	type key struct {
		target                     string
		ratio, minPerSecond, burst float64
	}
	missing := map[key]float64{} // tokens of budgets, had they been full
	for _, b := range s.saved.Budgets {
		missing[key{b.Target, b.Ratio, b.MinPerSecond, b.Burst}] = b.Burst - b.Level(passed)
	}
	for _, b := range s.live.State().Budgets {
		missing[key{b.Target, b.Ratio, b.MinPerSecond, b.Burst}] -= b.Burst - b.Level(0)
	}
	for k, off := range missing {
		if math.Abs(off) > max(1+1e-6, k.burst/20) { // one, but for what sums are rounded by
			return true
		}
	}
	return false
}
