package report

import (
	"time"

	"github.com/astra-grpc/astra/bench/lab"
)

// sample is a report that has everything a report can have.
func sample() *Report {
	return &Report{
		Machine: Machine{
			OS: "linux", Arch: "amd64", CPU: "A CPU <fast>", Cores: 2, Memory: 15.6, Go: "go1.26.0",
			Modules: []Module{{"example.com/peer", "v1.2.3"}, {"github.com/astra-grpc/astra", "this tree"}},
		},
		Command: "go -C bench run . -run 'outage|herd'", Began: time.Date(2026, 11, 25, 18, 30, 0, 0, time.UTC),
		Seconds: 754.6, Seed: 1,
		Scenarios: []Scenario{
			{
				Name: "outage", Title: "The server is down for a while", About: "Down & up again.", Real: true, Seconds: 321.4,
				Result: lab.Result{
					Contenders: []lab.Contender{
						{Name: "astra", Config: "interceptors.New()", Why: "the defaults", Ours: true},
						{Name: "peer", Config: `{"retry": "<4>"}`, Why: "its documentation's example"},
					},
					Tables: []lab.Table{{
						Title: "Outages", Note: "Medians of five.", Quoted: true,
						Columns: []lab.Column{
							{Name: "goodput back", Unit: "s", Better: lab.Lower, Digits: 2},
							{Name: "refused", Unit: "%", Better: lab.Higher},
							{Name: "calls"},
						},
						Rows: []lab.Row{
							{Name: "no policy", Baseline: true, Cells: []lab.Cell{{Value: 0}, {Text: "–"}, {Value: 28000}}},
							{Name: "astra", Ours: true, Cells: []lab.Cell{{Value: 0.74, Low: 0.31, High: 1.29}, {Value: 91, Low: 90, High: 93}, {Value: 28000}}},
							{Name: "astra, tuned", Ours: true, Cells: []lab.Cell{{Value: 3, Text: "> 3.0"}, {Value: 95}, {Value: 1234.4}}},
							{Name: "peer", Cells: []lab.Cell{{Value: 0.66, Low: 0.3, High: 0.96}, {Value: 94.2, Low: 94, High: 94.4}, {Value: 28000}}},
							{Name: "peer without a breaker", Cells: []lab.Cell{{Value: 5, Text: "> 5.0"}, {Text: "–"}, {Value: 28000}}},
						},
					}},
					Charts: []lab.Chart{{
						Title: "Goodput", X: "s", Y: "%",
						Series: []lab.Series{
							{Name: "astra", Ours: true, Points: [][2]float64{{-1, 100}, {0, 0}, {1, 100}}},
							{Name: "peer", Points: [][2]float64{{-1, 100}, {0, 0}, {1, 40}}},
						},
					}, {
						Title: "By length", X: "s", Y: "s", LogX: true, LogY: true,
						Series: []lab.Series{{Name: "peer", Points: [][2]float64{{0, 1}, {0.8, 0.2}, {20, 30}}}},
					}},
					Gates: []lab.Gate{
						{What: "goodput back, mean", Unit: "s", Value: 0.736, Limit: 0.75, Note: "peer: 0.66 s"},
						{What: "refused", Unit: "%", Value: 89.4, Limit: 90, AtLeast: true},
						{What: "a refusal takes", Unit: "µs", Value: 80, Limit: 50},
					},
					Notes: []string{"The generator was late by 0.2 ms."},
				},
			},
			{
				Name: "herd", Title: "All come back at once", About: "1000 clients.", Seconds: 1.2,
				Result: lab.Result{
					Tables: []lab.Table{{Title: "Strategies", Columns: []lab.Column{{Name: "peak", Better: lab.Lower}}, Rows: []lab.Row{{Name: "full", Ours: true, Cells: []lab.Cell{{Value: 25}}}}}},
					Charts: []lab.Chart{{
						Title: "Peak", Y: "per 100 ms", Labels: []string{"full", "none"},
						Series: []lab.Series{
							{Name: "first", Ours: true, Points: [][2]float64{{0, 25}, {1, 1000}}},
							{Name: "second", Points: [][2]float64{{0, 12}, {1, 500}}},
						},
					}},
				},
			},
		},
	}
}

// older is a report before some things changed.
func older() *Report {
	r := sample()
	r.Began = r.Began.AddDate(0, 0, -1)
	s := &r.Scenarios[0]
	rows := s.Tables[0].Rows
	rows[1].Cells[0] = lab.Cell{Value: 0.8, Low: 0.5, High: 1.3}          // overlaps
	rows[1].Cells[1] = lab.Cell{Value: 80, Low: 79, High: 81}             // higher is better
	rows[2].Cells[0] = lab.Cell{Value: 1.2}                               // and now never
	rows[3].Cells[0] = lab.Cell{Value: 0.2, Low: 0.1, High: 0.25}         // lower was better
	rows[3].Cells[1] = lab.Cell{Value: 92.5}                              // too little to judge
	rows[2].Cells[2] = lab.Cell{Value: 1}                                 // describes, and does not judge
	s.Gates[1].Value = 91                                                 // held
	s.Gates = append(s.Gates, lab.Gate{What: "a promise no longer made"}) // missing
	r.Scenarios[1].Tables[0].Rows[0].Cells[0].Value = 50
	r.Scenarios = append(r.Scenarios, Scenario{Name: "not run now"})
	return r
}
