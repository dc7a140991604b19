package astraredis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// Between one try to reach Redis and the next: doubling, from half of it to
// the whole by chance.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// listen hears what others report until the store is closed.
func (s *store) listen() {
	pause := firstPause
	for s.ctx.Err() == nil {
		began := time.Now()
		err := s.subscribe()
		if s.ctx.Err() != nil {
			return
		}
		s.reached(err)
		s.notify(observe.ResultFailed, err)
		if time.Since(began) > maxPause {
			pause = firstPause
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
		}
		pause = min(2*pause, maxPause)
	}
}

// subscribe listens for as long as one connection lasts. Reading the set after
// having subscribed misses nothing.
func (s *store) subscribe() error {
	subscription := s.client.Subscribe(s.ctx)
	defer func() { _ = subscription.Close() }()
	defer context.AfterFunc(s.ctx, func() { _ = subscription.Close() })() // or reading would not end
	if err := subscription.Subscribe(s.ctx, s.channel); err != nil {
		return err
	}
	asked := false
	for {
		got, err := subscription.ReceiveTimeout(s.ctx, s.pingEvery)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() && !asked {
			asked = true
			if err := subscription.Ping(s.ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		asked = false
		switch got := got.(type) {
		case *redis.Subscription:
			if err := s.catchUp(); err != nil {
				return err
			}
		case *redis.Message:
			s.hear(got.Payload)
		}
	}
}

// catchUp reads what was reported before, and reports again what holds.
func (s *store) catchUp() error {
	found, err := listScript.Run(s.ctx, s.client, []string{s.set}, maxReports).StringSlice()
	if err != nil {
		return err
	}
	s.reached(nil)
	for _, text := range found {
		s.hear(text)
	}
	s.again()
	return nil
}

// hear acts on a report.
func (s *store) hear(text string) {
	r, left, err := parseNews(text)
	if err != nil {
		s.notify(observe.ResultRejected, fmt.Errorf("invalid report: %w", err))
		return
	}
	if r.Instance == s.instance {
		if !strings.HasPrefix(r.OpeningID, s.incarnation) { // of an earlier incarnation
			s.live.Restore(interceptors.State{Breakers: []interceptors.BreakerRecord{r.record(left)}})
			s.notify(observe.ResultReceived, nil)
		}
		return
	}
	now := time.Now()
	if !s.others.add(now, r, left) {
		return
	}
	if s.quorum == 0 {
		s.live.Hint(r.record(left))
	} else if agreed, left, ok := s.others.agreed(now, r.key(), s.quorum); ok {
		s.live.Open(agreed.record(left))
	}
	s.notify(observe.ResultReceived, nil)
}
