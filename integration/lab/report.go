package lab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gofrs/flock"
)

// page is the page of the tables, from a test's folder.
const page = "../../docs/no-harm.md"

var (
	reportMu sync.Mutex
	reported []Row
	tooBusy  bool // the machine was, for its rows to be kept
)

func busy() {
	reportMu.Lock()
	defer reportMu.Unlock()
	tooBusy = true
}

func report(rows []Row) {
	reportMu.Lock()
	defer reportMu.Unlock()
	reported = append(reported, rows...)
}

// Main runs a package's tests, prints its table, and writes it into the docs if
// the flag says so. TestMain calls it and exits with what it returns.
func Main(m *testing.M, client string) int {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // experiments mostly wait
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	code := m.Run()
	table := Header
	for _, r := range reported {
		table += r.Markdown()
	}
	if len(reported) > 0 {
		fmt.Printf("%s\n%s\n", client, table)
	}
	if *update && code == 0 && len(reported) > 0 {
		if tooBusy {
			fmt.Fprintln(os.Stderr, "lab: the machine was too busy for times to be compared; the table has them all the same")
		}
		if err := write(page, client, table); err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
			return 1
		}
	}
	return code
}

// write replaces a client's table in the page. Several test binaries do that at
// the same time.
func write(page, client, table string) (err error) {
	lock := flock.New(filepath.Join(os.TempDir(), "astra-no-harm.lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	text, err := replaceTable(string(old), client, table)
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(text), 0o644)
}

// replaceTable replaces what stands between <!-- table of client --> and the next
// <!-- end of table -->.
func replaceTable(text, client, table string) (string, error) {
	place := regexp.MustCompile(`(?s)(<!-- table of ` + regexp.QuoteMeta(client) + ` -->\n).*?(<!-- end of table -->)`)
	if len(place.FindAllString(text, -1)) != 1 {
		return "", fmt.Errorf("the page has not one table of %s", client)
	}
	table = strings.ReplaceAll(table, "$", "$$")
	return place.ReplaceAllString(text, "${1}"+table+"${2}"), nil
}
