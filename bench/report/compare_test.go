package report

import (
	"fmt"
	"slices"
	"testing"

	"github.com/astra-grpc/astra/bench/lab"
)

func TestCompare(t *testing.T) {
	c := Compare(older(), sample())
	var got []string
	for _, ch := range c.All {
		got = append(got, fmt.Sprintf("%s %s: %s to %s, %s", ch.Verdict(), ch.Where(), ch.Old, ch.New, ch.By))
	}
	want := []string{
		"missed outage / refused: 91 % to 89.4 %, at least 90 %",
		"worse outage / Outages / astra, tuned / goodput back: 1.20 to > 3.0, –",
		"worse outage / Outages / peer / goodput back: 0.20 to 0.66, +230 %",
		"better herd / Strategies / full / peak: 50 to 25, −50 %",
		"better outage / Outages / astra / refused: 80 to 91, +13.8 %",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if c.Missing != 1 || c.Compared != 15+1+3 {
		t.Errorf("%d compared, %d missing", c.Compared, c.Missing)
	}
	if s := c.String(); s != "since 2026-11-24 18:30: 3 worse, 2 better, 14 of 19 as before, 1 not measured now" {
		t.Error(s)
	}
}

func TestCompareWithItself(t *testing.T) {
	if c := Compare(sample(), sample()); len(c.All) != 0 || c.Missing != 0 {
		t.Errorf("%+v", c)
	}
}

// TestCompareOtherColumns: columns and rows are known by their names, not by
// where they stand.
func TestCompareOtherColumns(t *testing.T) {
	now := sample()
	table := &now.Scenarios[0].Tables[0]
	slices.Reverse(table.Rows)
	table.Columns = slices.Insert(table.Columns, 0, lab.Column{Name: "new"})
	for i := range table.Rows {
		table.Rows[i].Cells = slices.Insert(table.Rows[i].Cells, 0, lab.Cell{})
	}
	if c := Compare(sample(), now); len(c.All) != 0 || c.Missing != 0 {
		t.Errorf("%+v", c)
	}
	table.Title = "another"
	if c := Compare(sample(), now); c.Missing != 15 {
		t.Errorf("%d of 15 missing", c.Missing)
	}
}
