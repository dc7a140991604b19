package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/astra-grpc/astra/config"
)

// TestConvertedSaysTheSame: there and back, the policies are the same.
func TestConvertedSaysTheSame(t *testing.T) {
	files, _ := filepath.Glob("../../config/testdata/*/*.yaml")
	files = append(files, "testdata/shop.yaml", "testdata/import/grpc.json")
	tried := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, err := config.Decode(data)
		if err != nil {
			continue // it shows faults
		}
		tried++
		for range 2 {
			if data, err = convert(data); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			after, err := config.Decode(data)
			if err != nil {
				t.Fatalf("%s: %v in\n%s", file, err, data)
			}
			if !reflect.DeepEqual(before.Policies(), after.Policies()) {
				t.Errorf("%s: other policies in\n%s", file, data)
			}
		}
	}
	if tried < 2 {
		t.Errorf("%d files: the test looks in the wrong place", tried)
	}
}

// TestImportedIsValid: what import prints is a policy file.
func TestImportedIsValid(t *testing.T) {
	for format, file := range map[string]string{"grpc": "grpc.json", "envoy": "envoy.yaml", "istio": "istio.yaml", "linkerd": "linkerd.yaml"} {
		out, _ := shell(t, "", "import", "-q", "-from", format, "import/"+file)
		t.Chdir("..")
		doc, err := config.Decode([]byte(out))
		if err != nil || len(doc.Entries()) < 2 {
			t.Errorf("%s: %v, %d entries", format, err, len(doc.Entries()))
		}
	}
}

// TestShellsTakeTheCompletion: as far as they are installed, they read it.
func TestShellsTakeTheCompletion(t *testing.T) {
	for name, args := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, code := shell(t, "", "completion", name)
		t.Chdir("..")
		cmd := exec.Command(path, args...)
		cmd.Stdin = strings.NewReader(out)
		if text, err := cmd.CombinedOutput(); err != nil || code != exitFine {
			t.Errorf("%s: exit code %d, %v: %s", name, code, err, text)
		}
	}
}
