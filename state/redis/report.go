package astraredis

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// Bounds of what is sent and heeded.
const (
	maxInstance = 128
	maxName     = 1024 // of targets and methods
	maxMember   = 4 << 10
	maxReports  = 10000 // in Redis, and kept here
)

// version of reports. Others are not understood.
const version = 1

// report says that an instance has opened a breaker.
type report struct {
	Version   int    `json:"v"`
	Instance  string `json:"instance"`
	OpeningID string `json:"opening"` // names this opening
	Target    string `json:"target"`
	Method    string `json:"method"`
	Openings  int    `json:"openings"`
}

type key struct{ target, method string }

func (r report) key() key { return key{r.Target, r.Method} }

// record is what the suite is given.
func (r report) record(left time.Duration) interceptors.BreakerRecord {
	return interceptors.BreakerRecord{Target: r.Target, Method: r.Method, Left: left, Openings: r.Openings}
}

// member writes a report as it stands in the set: always the same.
func (r report) member() (string, error) {
	text, err := json.Marshal(r)
	if err == nil && len(text) > maxMember {
		err = errors.New("report is too long")
	}
	return string(text), err
}

// parseMember is its inverse. What it returns is in range.
func parseMember(member string) (r report, err error) {
	if len(member) > maxMember {
		return r, fmt.Errorf("report of %d bytes: want at most %d", len(member), maxMember)
	}
	if err := json.Unmarshal([]byte(member), &r); err != nil {
		return r, err
	}
	switch {
	case r.Version != version:
		return r, fmt.Errorf("report version %d: want %d", r.Version, version)
	case r.Instance == "" || len(r.Instance) > maxInstance || r.OpeningID == "" || len(r.OpeningID) > maxInstance:
		return r, errors.New("instance or opening is missing or too long")
	case len(r.Target) > maxName || len(r.Method) > maxName:
		return r, errors.New("target or method is too long")
	case r.Openings < 1:
		return r, fmt.Errorf("%d openings: want 1 or more", r.Openings)
	}
	return r, nil
}

// parseNews reads what is published: milliseconds left, a space, a member.
func parseNews(text string) (r report, left time.Duration, err error) {
	ms, member, _ := strings.Cut(text, " ")
	if left, err = parseLeft(ms); err == nil {
		r, err = parseMember(member)
	}
	return r, left, err
}

func parseLeft(ms string) (time.Duration, error) {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil || n < 1 || n > interceptors.MaxStateAge.Milliseconds() {
		return 0, fmt.Errorf("report expiry %.30q ms: want from 1 to %d", ms, interceptors.MaxStateAge.Milliseconds())
	}
	return time.Duration(n) * time.Millisecond, nil
}
