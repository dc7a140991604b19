package astraredis

import (
	"context"
	"errors"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// retryAfter is when to try again what could not be reported. The listener's
// return to Redis does not wait for it.
const retryAfter = time.Second

// send reports until the store is closed.
func (s *store) send() {
	retry := time.NewTimer(retryAfter)
	retry.Stop()
	defer retry.Stop()
	for {
		select {
		case <-s.wake:
		case <-retry.C:
		case <-s.stop:
			ctx, cancel := context.WithTimeout(context.Background(), flushFor)
			defer cancel()
			_ = s.reportAll(ctx)
			return
		}
		if err := s.reportAll(s.ctx); err != nil {
			retry.Reset(retryAfter)
		}
	}
}

// reportAll reports what has not been, as far as it still holds.
func (s *store) reportAll(ctx context.Context) error {
	for {
		o, ok := s.unsent()
		if !ok {
			return nil
		}
		member, err := o.member()
		if err != nil || len(o.Target) > maxName || len(o.Method) > maxName {
			s.settle(o)
			s.notify(observe.ResultRejected, errors.New("a breaker's name is too long to be shared"))
			continue
		}
		left := time.Until(o.until).Milliseconds()
		if left < 1 {
			continue // unsent drops it
		}
		if err := reportScript.Run(ctx, s.client, []string{s.set}, member, left, s.channel, maxReports).Err(); err != nil {
			s.reached(err)
			s.notify(observe.ResultFailed, err)
			return err
		}
		s.settle(o)
		s.reached(nil)
		s.notify(observe.ResultSent, nil)
	}
}

// unsent returns one that is to be reported, and drops what has expired.
func (s *store) unsent() (opening, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, o := range s.own {
		switch {
		case time.Until(o.until) < time.Millisecond:
			delete(s.own, k)
		case !o.sent:
			return o, true
		}
	}
	return opening{}, false
}

// settle marks it as reported, unless another has taken its place.
func (s *store) settle(o opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own[o.key()] == o {
		o.sent = true
		s.own[o.key()] = o
	}
}

// again has everything reported that holds: Redis may have lost it.
func (s *store) again() {
	s.mu.Lock()
	for k, o := range s.own {
		o.sent = false
		s.own[k] = o
	}
	s.mu.Unlock()
	s.wakeUp()
}
