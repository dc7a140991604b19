package codes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
)

var names = [count]string{
	codes.OK:                 "OK",
	codes.Canceled:           "CANCELLED",
	codes.Unknown:            "UNKNOWN",
	codes.InvalidArgument:    "INVALID_ARGUMENT",
	codes.DeadlineExceeded:   "DEADLINE_EXCEEDED",
	codes.NotFound:           "NOT_FOUND",
	codes.AlreadyExists:      "ALREADY_EXISTS",
	codes.PermissionDenied:   "PERMISSION_DENIED",
	codes.ResourceExhausted:  "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION",
	codes.Aborted:            "ABORTED",
	codes.OutOfRange:         "OUT_OF_RANGE",
	codes.Unimplemented:      "UNIMPLEMENTED",
	codes.Internal:           "INTERNAL",
	codes.Unavailable:        "UNAVAILABLE",
	codes.DataLoss:           "DATA_LOSS",
	codes.Unauthenticated:    "UNAUTHENTICATED",
}

// Name returns the spelling of c in gRPC's specification (doc/statuscodes.md),
// such as "UNAVAILABLE", where c.String() is Go's "Unavailable". A code beyond
// 16 gives "CODE(42)".
func Name(c codes.Code) string {
	if c < count {
		return names[c]
	}
	return "CODE(" + strconv.FormatUint(uint64(c), 10) + ")"
}

// Parse returns the set of the codes of those names. A name may be spelled as
// the specification does ("DEADLINE_EXCEEDED"), the same in lower case, or as
// Go does ("DeadlineExceeded"); CANCELLED may also have one L. A name may occur
// twice.
//
// The error joins one for each unknown name, with the names that are allowed;
// the set is then empty.
func Parse(names ...string) (Set, error) {
	var (
		s      Set
		faults []error
	)
	for _, name := range names {
		c, err := parse(name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		s = s.With(c)
	}
	if len(faults) > 0 {
		return 0, errors.Join(faults...)
	}
	return s, nil
}

// String returns the names in the order of their numbers, comma separated:
// "DEADLINE_EXCEEDED,UNAVAILABLE". The empty set is "none", which is visible in
// a log line, and not the name of a code.
func (s Set) String() string {
	if s&every == 0 {
		return "none"
	}
	return strings.Join(s.names(), ",")
}

// MarshalJSON returns the names as a list, in the order of their numbers; the
// empty set is []. It returns an error for a set that [Set.Validate] rejects,
// since a list cannot hold it.
func (s Set) MarshalJSON() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(s.names())
}

// UnmarshalJSON takes a list of names, spelled as [Parse] takes them, and of
// numbers from 0 to 16, as a gRPC service config may hold both (gRFC A6,
// retryableStatusCodes). By the convention of [json.Unmarshaler], null changes
// nothing.
//
// The error joins one for each wrong element, with its index, its value and
// what is allowed; s is then unchanged.
func (s *Set) UnmarshalJSON(data []byte) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		return fmt.Errorf("status codes: want a list: %w", err)
	}
	if elements == nil { // null
		return nil
	}
	var (
		parsed Set
		faults []error
	)
	for i, element := range elements {
		c, err := parseJSON(element)
		if err != nil {
			faults = append(faults, fmt.Errorf("[%d]: %w", i, err))
			continue
		}
		parsed = parsed.With(c)
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	*s = parsed
	return nil
}

func (s Set) names() []string {
	list := make([]string, 0, count) // never nil, which JSON would show as null
	for c := range s.All() {
		list = append(list, names[c])
	}
	return list
}

func parseJSON(element []byte) (codes.Code, error) {
	if bytes.HasPrefix(element, []byte(`"`)) {
		var name string
		if err := json.Unmarshal(element, &name); err != nil {
			return 0, err
		}
		return parse(name)
	}
	n, err := strconv.ParseUint(string(element), 10, 32)
	if err != nil || n >= count {
		return 0, fmt.Errorf("status code %s is unknown: want 0 to %d or a name", element, count-1)
	}
	return codes.Code(n), nil
}

func parse(name string) (codes.Code, error) {
	switch name {
	case "CANCELED", "canceled", "Cancelled":
		return codes.Canceled, nil
	}
	for c := range codes.Code(count) {
		if name == names[c] || name == strings.ToLower(names[c]) || name == c.String() {
			return c, nil
		}
	}
	return 0, fmt.Errorf("status code %q is unknown: want %s", name, strings.Join(names[:], ", "))
}
