package main

import "github.com/astra-grpc/astra/internal/lint"

// SARIF 2.1.0 (OASIS), as far as code review tools need it.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		URI   string      `json:"informationUri"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID    string    `json:"id"`
		Short sarifText `json:"shortDescription"`
		Full  sarifText `json:"fullDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		Line   int `json:"startLine"`
		Column int `json:"startColumn,omitempty"`
	}
)

func printSARIF(s *streams, all []lint.Finding) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "astra lint", URI: "https://github.com/astra-grpc/astra", Rules: []sarifRule{}}}, Results: []sarifResult{}}
	for _, r := range lint.Rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{r.Name, sarifText{r.Short}, sarifText{r.Why}})
	}
	for _, f := range all {
		r := sarifResult{RuleID: f.Rule, Level: "warning", Message: sarifText{f.Message}}
		if f.Error {
			r.Level = "error"
		}
		at := sarifPhysical{Artifact: sarifArtifact{f.File}}
		if f.Line > 0 {
			at.Region = &sarifRegion{f.Line, f.Column}
		}
		r.Locations = []sarifLocation{{at}}
		run.Results = append(run.Results, r)
	}
	return writeJSON(s.out, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}
