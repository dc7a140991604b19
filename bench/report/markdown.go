package report

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/astra-grpc/astra/bench/lab"
)

//go:embed report.md.tmpl
var documentText string

var document = template.Must(template.New("document").Funcs(template.FuncMap{
	"heads":    heads,
	"rows":     markdownRows,
	"bold":     bolden,
	"cell":     func(s string) string { return strings.ReplaceAll(s, "|", `\|`) },
	"value":    func(g lab.Gate) string { return withUnit(g.Value, g.Unit) },
	"limit":    limit,
	"sentence": sentence,
}).Parse(documentText))

// Markdown writes the whole report as a document.
func (r *Report) Markdown(w io.Writer) error { return document.Execute(w, r) }

// Quotes writes the report with those tables only that people quote, and without
// the settings.
func (r *Report) Quotes(w io.Writer) error {
	short := *r
	short.Scenarios = nil
	for _, s := range r.Scenarios {
		s.Contenders, s.Charts, s.Notes = nil, nil, nil
		s.Tables = slices.DeleteFunc(slices.Clone(s.Tables), func(t lab.Table) bool { return !t.Quoted })
		short.Scenarios = append(short.Scenarios, s)
	}
	return short.Markdown(w)
}

// heads are the first two lines of a table.
func heads(t lab.Table) string {
	var names, rules strings.Builder
	for _, c := range t.Columns {
		fmt.Fprintf(&names, " %s |", heading(c))
		rules.WriteString(" ---: |")
	}
	return "|  |" + names.String() + "\n| --- |" + rules.String()
}

// markdownRows are its others.
func markdownRows(t lab.Table) (all []string) {
	for i, row := range t.Rows {
		cells := []string{bolden(row.Name, row.Ours)}
		for j, cell := range row.Cells {
			s := bolden(text(t.Columns[j], cell), row.Ours)
			if b := between(t.Columns[j], cell); b != "" {
				s += small(b)
			}
			if name, value, ok := rival(t, i, j); ok {
				s += small("▾ " + name + ": " + value)
			}
			cells = append(cells, s)
		}
		for i, s := range cells {
			cells[i] = strings.ReplaceAll(s, "|", `\|`)
		}
		all = append(all, "| "+strings.Join(cells, " | ")+" |")
	}
	return all
}

func bolden(s string, ours bool) string {
	if ours {
		return "**" + s + "**"
	}
	return s
}

func small(s string) string { return "<br><sub>" + s + "</sub>" }

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
