package report

import (
	_ "embed"
	"html/template"
	"io"

	"github.com/astra-grpc/astra/bench/lab"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style":    func() template.CSS { return template.CSS(pageStyle) },
	"chart":    drawChart,
	"looks":    looks,
	"heading":  heading,
	"cells":    htmlCells,
	"ours":     func(all []Change) []Change { return changesOf(all, true) },
	"peers":    func(all []Change) []Change { return changesOf(all, false) },
	"limit":    limit,
	"value":    func(g lab.Gate) string { return withUnit(g.Value, g.Unit) },
	"sentence": sentence,
}).Parse(pageText))

// HTML writes the report as a page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	return page.Execute(w, r)
}

// changesOf returns those of ours, or of the others.
func changesOf(all []Change, ours bool) (some []Change) {
	for _, c := range all {
		if c.Ours == ours {
			some = append(some, c)
		}
	}
	return some
}

// htmlCell is a cell of a table.
type htmlCell struct {
	Text, Between, Rival, RivalValue string
	Best                             bool
}

// htmlCells are a row's.
func htmlCells(t lab.Table, row int) (all []htmlCell) {
	for j, cell := range t.Rows[row].Cells {
		c := htmlCell{Text: text(t.Columns[j], cell), Between: between(t.Columns[j], cell), Best: best(t, row, j)}
		c.Rival, c.RivalValue, _ = rival(t, row, j)
		all = append(all, c)
	}
	return all
}

// best reports whether nobody but a baseline is better in a column, and
// somebody is worse.
func best(t lab.Table, row, column int) bool {
	mine, c := t.Rows[row].Cells[column], t.Columns[column]
	if c.Better == lab.Neither || mine.Text != "" || t.Rows[row].Baseline {
		return false
	}
	worse := false
	for _, other := range t.Rows {
		if column >= len(other.Cells) || other.Baseline {
			continue
		}
		if beats(c, other.Cells[column], mine) {
			return false
		}
		worse = worse || beats(c, mine, other.Cells[column])
	}
	return worse
}
