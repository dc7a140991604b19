package config_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

var update = flag.Bool("update", false, "write golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// documents are the files of a folder of testdata, without the golden ones.
func documents(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	for _, kind := range []string{"*.yaml", "*.json"} {
		some, err := filepath.Glob(filepath.Join("testdata", dir, kind))
		if err != nil || len(some) < 2 {
			t.Fatalf("%s: %d documents, %v", dir, len(some), err)
		}
		all = append(all, some...)
	}
	return all
}

// golden compares a text with the file beside a document.
func golden(t *testing.T, document, got string) {
	t.Helper()
	path := document + ".txt"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s says\n%s\nwant (or -update)\n%s", document, got, want)
	}
}

// TestFaultTexts: what is said of documents that are wrong, all of it.
func TestFaultTexts(t *testing.T) {
	for _, path := range documents(t, "faults") {
		opts, err := config.Load(path)
		var fault *config.Fault
		if opts != nil || !errors.As(err, &fault) || fault.File != path {
			t.Errorf("%s: options %v, error %v", path, opts, err)
			continue
		}
		golden(t, path, err.Error()+"\n")
	}
}

// TestPolicies: what is made of documents that are well, and what is warned of.
func TestPolicies(t *testing.T) {
	for _, path := range documents(t, "valid") {
		d, err := config.DecodeFile(path)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if _, err := interceptors.New(d.Options()...); err != nil {
			t.Errorf("%s: New: %v", path, err)
		}
		golden(t, path, describe(d))
	}
}

func describe(d *config.Document) string {
	var b strings.Builder
	for pattern, p := range sorted(d.Policies()) {
		fmt.Fprintln(&b, pattern)
		fields(reflect.ValueOf(p), "", func(path string, v reflect.Value) {
			if !v.IsZero() {
				fmt.Fprintf(&b, "  %s: %v\n", path, v)
			}
		})
	}
	if plan := d.Chaos(); plan != nil {
		fmt.Fprintf(&b, "chaos: from %v for %v, seed %d\n", plan.Start, plan.For, plan.Seed)
		for _, f := range plan.Faults {
			fmt.Fprintf(&b, "  %+v\n", f)
		}
	}
	for _, w := range d.Warnings() {
		fmt.Fprintln(&b, w.Error())
	}
	return b.String()
}
