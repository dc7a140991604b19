package config_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// FuzzParse: any document either has faults, each of which says something, or
// makes a suite.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"valid", "faults"} {
		for _, path := range documents(f, dir) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		d, err := config.Decode(data)
		if !bytes.Equal(before, data) {
			t.Fatal("the document was written to")
		}
		if err != nil {
			if d != nil {
				t.Fatal("a document and an error")
			}
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				var fault *config.Fault
				if !errors.As(e, &fault) || fault.Problem == "" || fault.Line < 0 {
					t.Fatalf("%#v", e)
				}
			}
			return
		}
		if plan := d.Chaos(); plan != nil {
			if err := plan.Validate(); err != nil {
				t.Fatalf("accepted, and no valid plan of chaos: %v", err)
			}
		}
		s, err := interceptors.New(d.Options()...)
		if err != nil {
			t.Fatalf("accepted, and makes no suite: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, w := range d.Warnings() {
			if w.Problem == "" {
				t.Fatalf("%#v", w)
			}
		}
	})
}
