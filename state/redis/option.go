package astraredis

import (
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// Option configures [New].
type Option func(*settings)

type settings struct {
	instance, namespace string
	quorum              int // 0: advisory
	faults              []error
}

func (s *settings) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Errorf("astraredis: "+format, args...))
}

func (s *settings) err() error { return errors.Join(s.faults...) }

// WithInstance names this instance. The name must be unique, and the same after
// a restart: that of a pod, for example. 1 to 128 bytes of UTF-8. Default: a
// random one.
func WithInstance(name string) Option {
	return func(s *settings) {
		if name == "" || len(name) > maxInstance || !utf8.ValidString(name) {
			s.fault("instance %.200q: want 1 to %d bytes of UTF-8", name, maxInstance)
		}
		s.instance = name
	}
}

// WithQuorum opens a breaker when n other instances have opened theirs; without
// it, reports are advisory. 1 to 1000; with 1 every instance can open the
// breakers of all.
func WithQuorum(n int) Option {
	return func(s *settings) {
		if n < 1 || n > 1000 {
			s.fault("quorum %d: want 1 to 1000", n)
		}
		s.quorum = n
	}
}

var namespaces = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,64}$`)

// WithNamespace keeps fleets apart that share a Redis. 1 to 64 letters, digits
// and . _ : / -. Default: "default".
func WithNamespace(name string) Option {
	return func(s *settings) {
		if !namespaces.MatchString(name) {
			s.fault("namespace %.200q: want 1 to 64 letters, digits and . _ : / -", name)
		}
		s.namespace = name
	}
}
