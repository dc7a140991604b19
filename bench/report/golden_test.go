package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the renderers give as what is wanted")

// TestGolden: what readers get changes only on purpose.
//
//	go test ./report -update
func TestGolden(t *testing.T) {
	r := sample()
	r.Changes = Compare(older(), r)
	for name, write := range map[string]func(io.Writer) error{
		"report.html": r.HTML, "report.md": r.Markdown, "quotes.md": r.Quotes, "results.json": r.JSON,
		"terminal.txt": func(w io.Writer) error {
			screen := Terminal{Out: w}
			for _, s := range r.Scenarios {
				screen.Scenario(s)
			}
			screen.Summary(r)
			return nil
		},
	} {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs from %s at line %d; -update writes it anew", name, path, firstDifference(got.String(), string(want)))
		}
	}
}

func firstDifference(a, b string) int {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(left), len(right)) {
		if left[i] != right[i] {
			return i + 1
		}
	}
	return min(len(left), len(right)) + 1
}

// TestPageIsSelfContained: it loads nothing, and what was measured cannot
// write into it.
func TestPageIsSelfContained(t *testing.T) {
	var page bytes.Buffer
	if err := sample().HTML(&page); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"<script", "src=", "@import", "url(", "http:", "https:", "<fast>", "<4>", "ZgotmplZ"} {
		if strings.Contains(page.String(), s) {
			t.Errorf("the page has %q", s)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "for it")
	r := sample()
	page, err := r.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{page, filepath.Join(dir, markdownFile)} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := Read(filepath.Join(dir, resultsFile))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read %+v, want %+v", got, r)
	}
	if _, err := Read(page); err == nil || !strings.Contains(err.Error(), "no report of this program") {
		t.Errorf("a page is read as a report: %v", err)
	}
	if _, err := r.Write(page); err == nil {
		t.Error("a folder in place of a file")
	}
}

// TestNothingMeasured: a report without scenarios, gates and points is one.
func TestNothingMeasured(t *testing.T) {
	for _, r := range []*Report{{Cut: true}, {Scenarios: []Scenario{{Name: "x"}}}} {
		if len(r.Scenarios) > 0 {
			if err := json.Unmarshal([]byte(`{"charts": [{"title": "no points"}, {"title": "no bars", "labels": ["a"]}], "tables": [{"title": "no rows"}]}`), &r.Scenarios[0].Result); err != nil {
				t.Fatal(err)
			}
		}
		for _, write := range []func(io.Writer) error{r.HTML, r.Markdown, r.Quotes, r.JSON} {
			if err := write(io.Discard); err != nil {
				t.Error(err)
			}
		}
	}
}
