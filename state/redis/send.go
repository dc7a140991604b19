package astraredis

import (
	"context"
	"errors"
	"time"

	"github.com/astra-grpc/astra/observe"
)

const (
	// retryAfter is when to try again what could not be reported. The listener's
	// return to Redis does not wait for it.
	retryAfter = time.Second
	// A breaker is reported at once, and again after half of what its report
	// holds for, within these bounds: probes may reopen it ten times a second.
	minQuiet, maxQuiet = 250 * time.Millisecond, time.Second
)

// send reports until the store is closed.
func (s *store) send() {
	again := time.NewTimer(retryAfter)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-s.wake:
		case <-again.C:
		case <-s.stop:
			ctx, cancel := context.WithTimeout(context.Background(), flushFor)
			defer cancel()
			_, _ = s.reportAll(ctx, true)
			return
		}
		wait, err := s.reportAll(s.ctx, false)
		if err != nil {
			wait = retryAfter
		}
		if wait > 0 {
			again.Reset(wait)
		}
	}
}

// reportAll reports what has not been, as far as it still holds, and returns
// when it must be called again for what waits; 0: for nothing. The last time,
// nothing waits.
func (s *store) reportAll(ctx context.Context, last bool) (wait time.Duration, err error) {
	for {
		o, wait, ok := s.unsent(last)
		if !ok {
			return wait, nil
		}
		member, err := o.member()
		if err != nil || len(o.Target) > maxName || len(o.Method) > maxName {
			s.settle(o)
			s.notify(observe.ResultRejected, errors.New("breaker not shared: its target or method is too long"))
			continue
		}
		left := time.Until(o.until).Milliseconds()
		if left < 1 {
			continue // unsent drops it
		}
		if err := reportScript.Run(ctx, s.client, []string{s.set}, member, left, s.channel, maxReports).Err(); err != nil {
			if s.ctx.Err() != nil && !last {
				return 0, err // Close has broken it off, and reports it again
			}
			s.reached(err)
			s.notify(observe.ResultFailed, err)
			return 0, err
		}
		s.settle(o)
		s.reached(nil)
		s.notify(observe.ResultSent, nil)
	}
}

// unsent returns one that is to be reported now, or else how long the next one
// waits; 0: there is none. It drops what has expired.
func (s *store) unsent(last bool) (o opening, wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, o := range s.own {
		quiet := time.Until(o.quiet)
		switch expired := time.Until(o.until) < time.Millisecond; {
		case expired && quiet <= 0:
			delete(s.own, k)
		case expired: // kept for its successor, which must wait too
			o.sent = true
			s.own[k] = o
		case o.sent:
		case last || quiet <= 0:
			return o, 0, true
		case wait == 0 || quiet < wait:
			wait = quiet
		}
	}
	return opening{}, wait, false
}

// settle marks it as reported, unless another has taken its place, which waits.
func (s *store) settle(o opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, ok := s.own[o.key()]
	if !ok {
		return
	}
	now.quiet = time.Now().Add(min(max(time.Until(o.until)/2, minQuiet), maxQuiet))
	if now.OpeningID == o.OpeningID {
		now.sent = true
	}
	s.own[o.key()] = now
}

// again has everything reported that holds: Redis may have lost it.
func (s *store) again() {
	s.mu.Lock()
	for k, o := range s.own {
		o.sent, o.quiet = false, time.Time{}
		s.own[k] = o
	}
	s.mu.Unlock()
	s.wakeUp()
}
