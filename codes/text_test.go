package codes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"
)

var (
	_ json.Marshaler   = Set(0)
	_ json.Unmarshaler = (*Set)(nil)
)

const allowed = "want OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, " +
	"PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, " +
	"UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED"

// gRPC's own decoder is the authority on the canonical spelling.
func TestNamesAreCanonical(t *testing.T) {
	for c := range codes.Code(count) {
		var theirs codes.Code
		if err := theirs.UnmarshalJSON(fmt.Appendf(nil, "%q", Name(c))); err != nil || theirs != c {
			t.Errorf("gRPC reads %s, our name of %d, as %d, %v", Name(c), c, theirs, err)
		}
	}
	if err := new(codes.Code).UnmarshalJSON(fmt.Append(nil, count)); err == nil {
		t.Errorf("gRPC has a code %d by now", count)
	}
	for c, want := range map[codes.Code]string{17: "CODE(17)", 42: "CODE(42)", 1<<32 - 1: "CODE(4294967295)"} {
		if got := Name(c); got != want {
			t.Errorf("Name(%d) = %q, want %q", c, got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  Set
	}{
		{nil, 0},
		{[]string{"OK"}, Of(codes.OK)},
		{[]string{"UNAVAILABLE", "DEADLINE_EXCEEDED"}, Retryable},
		{[]string{"unavailable", "deadline_exceeded"}, Retryable},
		{[]string{"Unavailable", "DeadlineExceeded"}, Retryable},
		{[]string{"UNAVAILABLE", "Unavailable", "unavailable"}, Of(codes.Unavailable)},
		{[]string{"CANCELLED"}, Of(codes.Canceled)},
		{[]string{"CANCELED"}, Of(codes.Canceled)},
		{[]string{"cancelled"}, Of(codes.Canceled)},
		{[]string{"canceled"}, Of(codes.Canceled)},
		{[]string{"Canceled"}, Of(codes.Canceled)},
		{[]string{"Cancelled"}, Of(codes.Canceled)},
	} {
		if got, err := Parse(c.names...); got != c.want || err != nil {
			t.Errorf("Parse(%q) = %v, %v; want %v", c.names, got, err, c.want)
		}
	}
	for c := range codes.Code(count) {
		for _, name := range []string{Name(c), strings.ToLower(Name(c)), c.String()} {
			if got, err := Parse(name); got != Of(c) || err != nil {
				t.Errorf("Parse(%q) = %v, %v", name, got, err)
			}
		}
	}
}

func TestParseReportsEveryFault(t *testing.T) {
	s, err := Parse("UNAVAILABLE", "", "FLAKY", "INTERNAL", "CODE(3)")
	if s != 0 {
		t.Errorf("set %v beside an error", s)
	}
	want := `status code "" is unknown: ` + allowed + "\n" +
		`status code "FLAKY" is unknown: ` + allowed + "\n" +
		`status code "CODE(3)" is unknown: ` + allowed
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%v", err, want)
	}
}

func TestString(t *testing.T) {
	for s, want := range map[Set]string{
		0:                                 "none",
		Of(codes.OK):                      "OK",
		Of(codes.Canceled, codes.Aborted): "CANCELLED,ABORTED",
		Retryable:                         "DEADLINE_EXCEEDED,UNAVAILABLE",
	} {
		if got := s.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(s), got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	for _, c := range []struct {
		text string
		want Set
		back string // what marshalling gives
	}{
		{`[]`, 0, `[]`},
		{` [ "UNAVAILABLE" , 4 ] `, Retryable, `["DEADLINE_EXCEEDED","UNAVAILABLE"]`},
		{`["unavailable","DeadlineExceeded",14]`, Retryable, `["DEADLINE_EXCEEDED","UNAVAILABLE"]`},
		{`["\u0041BORTED",0,16]`, Of(codes.OK, codes.Aborted, codes.Unauthenticated), `["OK","ABORTED","UNAUTHENTICATED"]`},
	} {
		got := Failure // overwritten, not added to
		if err := json.Unmarshal([]byte(c.text), &got); err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", c.text, got, err, c.want)
		}
		if back, err := json.Marshal(got); err != nil || string(back) != c.back {
			t.Errorf("%v: %s, %v; want %s", got, back, err, c.back)
		}
	}
}

func TestJSONFaults(t *testing.T) {
	for text, want := range map[string][]string{
		`"UNAVAILABLE"`:        {"status codes: want a list: "},
		`14`:                   {"status codes: want a list: "},
		`{"UNAVAILABLE":true}`: {"status codes: want a list: "},
		`[null]`:               {"[0]: status code null is unknown: want 0 to 16 or a name"},
		`["14"]`:               {`[0]: status code "14" is unknown: ` + allowed},
		`[4,17,"FLAKY",-1,1.0,4294967300]`: {
			"[1]: status code 17 is unknown: want 0 to 16 or a name",
			`[2]: status code "FLAKY" is unknown: ` + allowed,
			"[3]: status code -1 is unknown: want 0 to 16 or a name",
			"[4]: status code 1.0 is unknown: want 0 to 16 or a name",
			"[5]: status code 4294967300 is unknown: want 0 to 16 or a name",
		},
	} {
		s := Failure
		err := json.Unmarshal([]byte(text), &s)
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		for i, line := range lines {
			if len(lines) != len(want) || !strings.HasPrefix(line, want[i]) {
				t.Errorf("%s:\n got %q\nwant %q", text, lines, want)
				break
			}
		}
		if s != Failure {
			t.Errorf("%s: changed the set to %v", text, s)
		}
	}
	s := Failure
	if err := json.Unmarshal([]byte("null"), &s); err != nil || s != Failure {
		t.Errorf("null: %v, %v; want no change", s, err)
	}
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Set(rapid.Uint32Range(0, uint32(every)).Draw(t, "set"))
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Set
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Fatalf("%s gave back %v, %v", text, back, err)
		}
		if s == 0 {
			return // "none" is for readers
		}
		if back, err := Parse(strings.Split(s.String(), ",")...); err != nil || back != s {
			t.Fatalf("%v gave back %v, %v", s, back, err)
		}
	})
}

func FuzzUnmarshalJSON(f *testing.F) {
	for _, seed := range []string{`[]`, `null`, `["UNAVAILABLE",4]`, `["canceled","DeadlineExceeded"]`, `[17,"",{},[1]]`, `["OK"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := Failure
		if err := s.UnmarshalJSON(data); err != nil {
			if s != Failure {
				t.Fatalf("%q failed, but changed the set to %v", data, s)
			}
			return
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatalf("%q gave %#x: %v", data, uint32(s), err)
		}
		var back Set
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Fatalf("%q, then %s, gave back %v, %v", data, text, back, err)
		}
		// What gRPC reads as a list of codes, we read the same.
		var theirs []codes.Code
		if json.Unmarshal(data, &theirs) == nil && theirs != nil && s != Of(theirs...) {
			t.Fatalf("%q: %v, gRPC reads %v", data, s, theirs)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"UNAVAILABLE", "canceled", "Cancelled", "DeadlineExceeded", "", "none", "CODE(3)"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := Parse(name)
		if err != nil {
			if s != 0 || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
				t.Fatalf("Parse(%q) = %v, %v", name, s, err)
			}
			return
		}
		plain := func(n string) string { return strings.ToUpper(strings.ReplaceAll(n, "_", "")) }
		got, want := plain(name), plain(s.String())
		if got != want && got != "CANCELED" {
			t.Fatalf("Parse(%q) = %v", name, s)
		}
	})
}
