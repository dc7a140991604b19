package text

import (
	"fmt"
	"strings"
)

// List lists the first few of some names, as a sentence does: "a, b and 3 more".
func List(names []string, most int) string {
	if n := len(names) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}

// spelling leaves out what names differ in by convention.
var spelling = strings.NewReplacer("_", "", "-", "", " ", "")

// Nearest returns the name that is spelled most nearly like what was written, if
// at most a number of letters differ: the first of several, "" of none. Case,
// "_", "-" and spaces do not count.
func Nearest(written string, names []string, most int) (best string) {
	plain := func(s string) string { return strings.ToLower(spelling.Replace(s)) }
	written = plain(written)
	for _, name := range names {
		if n := distance(written, plain(name), most); n <= most {
			best, most = name, n-1
		}
	}
	return best
}

// distance is how many letters must be inserted, left out or changed to make a
// into b (Levenshtein), or more than most.
func distance(a, b string, most int) int {
	if d := len(a) - len(b); max(d, -d) > most {
		return most + 1 // what is far too long costs no time
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
