package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/metrics"
)

const root = "../.."

var documents = append([]string{
	"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "VERSIONING.md", "examples/greeter/README.md",
}, pages()...)

// pages returns docs/*.md, relative to the root.
func pages() (all []string) {
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(found) == 0 {
		panic("no pages in docs: the tests look in the wrong place")
	}
	for _, path := range found {
		all = append(all, "docs/"+filepath.Base(path))
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func document(t *testing.T, name string) string {
	t.Helper()
	return read(t, filepath.Join(root, name))
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) (all []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// rows returns the cells of the rows of every table.
func rows(text string) (all [][]string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if inner, ok := strings.CutPrefix(line, "|"); ok && !strings.HasPrefix(inner, "---") {
			cells := strings.Split(strings.TrimSuffix(inner, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			all = append(all, cells)
		}
	}
	return all
}

// flat takes the indentation off every line.
func flat(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimLeft(line, "\t "))
	}
	return b.String()
}

// TestREADMEIsShort: it is read in one sitting, and has the commands of
// contributors.
func TestREADMEIsShort(t *testing.T) {
	readme := document(t, "README.md")
	if n := strings.Count(readme, "\n"); n > 180 {
		t.Errorf("README has %d lines, want at most 180: what is longer belongs into docs", n)
	}
	for _, command := range []string{"go run ./examples/greeter", "go test ./..."} {
		if !strings.Contains(readme, command) {
			t.Errorf("README lacks %q", command)
		}
	}
}

// TestPagesAreListed: docs/README.md links to every page beside it.
func TestPagesAreListed(t *testing.T) {
	index := document(t, "docs/README.md")
	for _, page := range pages() {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/README.md does not list %s", page)
		}
	}
}

// TestMetricsAgree: the table of docs/metrics.md has the collector's metrics and
// labels, and no document names another.
func TestMetricsAgree(t *testing.T) {
	var (
		have        = map[string]string{} // name → labels
		described   = make(chan *prometheus.Desc, 100)
		fields      = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
		inText      = regexp.MustCompile(`astra_[a-z0-9_]+`)
		listed      = map[string]bool{}
		page        = document(t, "docs/metrics.md")
		unquoted    = strings.NewReplacer("`", "", " ", "")
		placeholder = []string{"astra_retry_", "astra_breaker_", "astra_limit_"} // with a star after it
	)
	metrics.New(metrics.WithDurations(metrics.Durations{})).Describe(described)
	close(described)
	for d := range described {
		m := fields.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read the description %v", d)
		}
		have[m[1]] = m[2]
	}
	for _, row := range rows(page) {
		name := unquoted.Replace(row[0])
		if !strings.HasPrefix(name, "astra_") {
			continue
		}
		listed[name] = true
		if want, got := have[name], unquoted.Replace(row[2]); got != want {
			t.Errorf("docs/metrics.md gives %s the labels %q, want %q", name, got, want)
		}
	}
	for name := range have {
		if !listed[name] {
			t.Errorf("the table of docs/metrics.md lacks %s", name)
		}
	}
	for _, name := range []string{"astra_chaos_active", "astra_chaos_injected_total"} {
		have[name] = "" // of metrics.NewChaos; in docs/chaos.md alone
	}
	for _, file := range documents {
		for _, name := range inText.FindAllString(document(t, file), -1) {
			if _, ok := have[name]; !ok && !slices.Contains(placeholder, name) {
				t.Errorf("%s names %s, which nobody exports", file, name)
			}
		}
	}
}

// TestLinksResolve: relative links lead to files, and their fragments to
// headings.
func TestLinksResolve(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, file := range documents {
		for _, m := range link.FindAllStringSubmatch(document(t, file), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, fragment, _ := strings.Cut(m[1], "#")
			if path == "" {
				path = file
			} else {
				path = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			} else if fragment != "" && !slices.Contains(anchors(document(t, path)), fragment) {
				t.Errorf("%s links to %s: no such heading", file, m[1])
			}
		}
	}
}

// anchors returns the fragments that GitHub gives a document's headings.
func anchors(text string) (all []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		slug := strings.ToLower(dropped.ReplaceAllString(m[1], ""))
		all = append(all, strings.ReplaceAll(slug, " ", "-"))
	}
	return all
}

// TestTreeIsComplete: CONTRIBUTING's tree has every folder with Go code, and no
// other.
func TestTreeIsComplete(t *testing.T) {
	var want, got []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		want = append(want, filepath.ToSlash(dir)+"/")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(document(t, "CONTRIBUTING.md"), "text") {
		for line := range strings.Lines(block) {
			got = append(got, strings.Fields(line)[0])
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	want = slices.Compact(want)
	if !slices.Equal(got, want) {
		t.Errorf("CONTRIBUTING's tree has\n%v\nwant\n%v", got, want)
	}
}
