package state

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/astra-grpc/astra/interceptors"
)

const (
	magic   = "astra-state"
	version = "1"
	// maxSize bounds what is read and written: some ten thousand breakers.
	maxSize = 4 << 20
	// maxAhead is how far clocks may be apart before a file counts as one from
	// the future.
	maxAhead = 5 * time.Minute
)

// What is wrong with files that are sound and may be replaced.
var (
	errOld   = errors.New("state is too old")
	errAhead = errors.New("state was saved in the future")
)

// document is the file's second line. Fields may be added within a version; a
// change of meaning is another version.
type document struct {
	Saved    time.Time `json:"saved"`
	Breakers []breaker `json:"breakers"`
	Budgets  []budget  `json:"budgets"`
	Backends []backend `json:"backends,omitempty"`
}

// backend is one that is ejected or drained.
type backend struct {
	Target   string   `json:"target"`
	Backend  string   `json:"backend"`
	Left     duration `json:"left"`
	Openings int      `json:"openings"`
	Age      duration `json:"age"`
	Drained  bool     `json:"drained,omitempty"`
}

type breaker struct {
	Target   string   `json:"target"`
	Method   string   `json:"method"`
	Left     duration `json:"left"`
	Openings int      `json:"openings"`
	Age      duration `json:"age"`
	Forced   string   `json:"forced,omitempty"`
}

type budget struct {
	Target       string   `json:"target"`
	Ratio        float64  `json:"ratio"`
	MinPerSecond float64  `json:"min_per_second"`
	Burst        float64  `json:"burst"`
	Tokens       float64  `json:"tokens"`
	Age          duration `json:"age"`
}

// duration is written as "1m2.5s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// encode returns the file's content. Records past its size are left out, those
// of breakers that are open for longest last.
func encode(st interceptors.State, saved time.Time) ([]byte, error) {
	size := 1 << 10 // for what stands around the records
	fits := func(record any, names ...string) bool {
		if size > maxSize {
			return false
		}
		for _, name := range names {
			if !utf8.ValidString(name) { // would come back as another
				return false
			}
		}
		text, err := json.Marshal(record)
		size += len(text) + 1
		return err == nil && size <= maxSize
	}
	doc := document{Saved: saved.UTC(), Breakers: []breaker{}, Budgets: []budget{}}
	for _, r := range slices.SortedFunc(slices.Values(st.Breakers), func(a, b interceptors.BreakerRecord) int {
		return cmp.Or(-cmp.Compare(a.Left, b.Left), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Method, b.Method))
	}) {
		b := breaker{r.Target, r.Method, duration(r.Left), r.Openings, duration(r.Age), r.Forced}
		if fits(b, r.Target, r.Method) {
			doc.Breakers = append(doc.Breakers, b)
		}
	}
	for _, r := range st.Budgets {
		b := budget{r.Target, r.Ratio, r.MinPerSecond, r.Burst, r.Tokens, duration(r.Age)}
		if fits(b, r.Target) {
			doc.Budgets = append(doc.Budgets, b)
		}
	}
	for _, r := range st.Backends {
		b := backend{r.Target, r.Backend, duration(r.Left), r.Openings, duration(r.Age), r.Drained}
		if fits(b, r.Target, r.Backend) {
			doc.Backends = append(doc.Backends, b)
		}
	}
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return append(header(body), body...), nil
}

func header(body []byte) []byte {
	return fmt.Appendf(nil, "%s %s sha256 %x\n", magic, version, sha256.Sum256(body))
}

// decode reads a file's content. What it returns is sound.
func decode(data []byte) (document, error) {
	var doc document
	if len(data) > maxSize {
		return doc, fmt.Errorf("file is larger than %d bytes", maxSize)
	}
	first, body, found := bytes.Cut(data, []byte("\n"))
	fields := strings.Split(string(first), " ")
	switch {
	case !found || len(fields) != 4 || fields[0] != magic:
		return doc, errors.New("file is not a state file, or truncated")
	case fields[1] != version:
		return doc, fmt.Errorf("file version %.20q is not supported: this program reads %s", fields[1], version)
	case !bytes.Equal(data[:len(first)+1], header(body)):
		return doc, errors.New("file is damaged or truncated: the checksum does not match")
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return doc, err
	}
	return doc, doc.check()
}

func (d document) check() error {
	const most = interceptors.MaxStateAge
	if d.Saved.IsZero() {
		return errors.New("field saved is missing")
	}
	for _, b := range d.Breakers {
		if !opened(b.Left, b.Age, b.Openings) {
			return fmt.Errorf("breaker %+v: a time or the openings are out of range: want times from 0 to %v, openings 1 or more", b, most)
		}
		if b.Forced != "" && b.Forced != "open" && b.Forced != "closed" {
			return fmt.Errorf("breaker %+v: forced is invalid: want open, closed or none", b)
		}
	}
	for _, b := range d.Backends {
		if !opened(b.Left, b.Age, b.Openings) {
			return fmt.Errorf("backend %+v: a time or the openings are out of range: want times from 0 to %v, openings 1 or more", b, most)
		}
	}
	for _, b := range d.Budgets {
		for _, v := range []float64{b.Ratio, b.MinPerSecond, b.Burst, b.Tokens} {
			if !(v >= 0 && v <= math.MaxFloat32) {
				return fmt.Errorf("budget %+v: a number is out of range: want 0 or more", b)
			}
		}
		if !within(b.Age) {
			return fmt.Errorf("budget %+v: age is out of range: want from 0 to %v", b, most)
		}
	}
	return nil
}

// within reports whether a time may be one of a state's.
func within(v duration) bool { return v >= 0 && time.Duration(v) <= interceptors.MaxStateAge }

// opened reports whether a breaker can be so.
func opened(left, age duration, openings int) bool {
	return within(left) && within(age) && openings >= 1
}

// state returns what is left of the document's state at a time.
func (d document) state(now time.Time) (st interceptors.State, err error) {
	if len(d.Breakers)+len(d.Budgets)+len(d.Backends) == 0 {
		return st, nil
	}
	passed := now.Sub(d.Saved)
	switch {
	case passed > interceptors.MaxStateAge:
		return st, fmt.Errorf("%w: saved %v ago: want at most %v", errOld, passed.Round(time.Second), interceptors.MaxStateAge)
	case passed < -maxAhead:
		return st, fmt.Errorf("%w: saved %v ahead of this clock: want at most %v", errAhead, -passed.Round(time.Second), maxAhead)
	}
	passed = max(0, passed)
	for _, b := range d.Breakers {
		st.Breakers = append(st.Breakers, interceptors.BreakerRecord{
			Target: b.Target, Method: b.Method, Openings: b.Openings, Forced: b.Forced,
			Left: max(0, time.Duration(b.Left)-passed), Age: time.Duration(b.Age) + passed,
		})
	}
	for _, b := range d.Backends {
		st.Backends = append(st.Backends, interceptors.BackendRecord{
			Target: b.Target, Backend: b.Backend, Openings: b.Openings, Drained: b.Drained,
			Left: max(0, time.Duration(b.Left)-passed), Age: time.Duration(b.Age) + passed,
		})
	}
	for _, b := range d.Budgets {
		st.Budgets = append(st.Budgets, interceptors.BudgetRecord{
			Target: b.Target, Ratio: b.Ratio, MinPerSecond: b.MinPerSecond, Burst: b.Burst,
			Tokens: b.Tokens, Age: time.Duration(b.Age) + passed,
		})
	}
	return st, nil
}
