package report

import (
	"encoding/csv"
	"io"
	"strconv"

	"github.com/astra-grpc/astra/bench/lab"
)

// TablesCSV writes all cells of all tables, a line each.
func (r *Report) TablesCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"scenario", "table", "row", "ours", "column", "unit", "better", "value", "low", "high", "text"}) // Error tells
	for _, s := range r.Scenarios {
		for _, t := range s.Tables {
			for _, row := range t.Rows {
				for i, cell := range row.Cells {
					c := t.Columns[i]
					_ = out.Write([]string{
						s.Name, t.Title, row.Name, strconv.FormatBool(row.Ours), c.Name, c.Unit, better(c),
						exact(cell.Value), exact(cell.Low), exact(cell.High), cell.Text,
					})
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}

// ChartsCSV writes all points of all charts, a line each.
func (r *Report) ChartsCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"scenario", "chart", "series", "ours", "label", "x", "y"})
	for _, s := range r.Scenarios {
		for _, c := range s.Charts {
			for _, series := range c.Series {
				for _, p := range series.Points {
					_ = out.Write([]string{
						s.Name, c.Title, series.Name, strconv.FormatBool(series.Ours), label(c, p[0]), exact(p[0]), exact(p[1]),
					})
				}
			}
		}
	}
	out.Flush()
	return out.Error()
}

func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func better(c lab.Column) string {
	switch c.Better {
	case lab.Lower:
		return "lower"
	case lab.Higher:
		return "higher"
	}
	return ""
}

// label is the bar's at x, "" without labels.
func label(c lab.Chart, x float64) string {
	if i := int(x); i >= 0 && i < len(c.Labels) {
		return c.Labels[i]
	}
	return ""
}
