package main

import "path/filepath"

// sarifLog is the part of SARIF 2.1.0 (OASIS) that code review tools read.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool struct {
		Driver sarifDriver `json:"driver"`
	} `json:"tool"`
	Results []sarifResult `json:"results"`
}

type sarifDriver struct {
	Name           string      `json:"name"`
	InformationURI string      `json:"informationUri"`
	Rules          []sarifRule `json:"rules"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID               string    `json:"id"`
	ShortDescription sarifText `json:"shortDescription"`
	FullDescription  sarifText `json:"fullDescription"`
}

type sarifResult struct {
	RuleID    string          `json:"ruleId"`
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations"`
}

type sarifLocation struct {
	PhysicalLocation struct {
		ArtifactLocation struct {
			URI string `json:"uri"`
		} `json:"artifactLocation"`
		Region *sarifRegion `json:"region,omitempty"`
	} `json:"physicalLocation"`
}

type sarifRegion struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn"`
}

func sarifOf(all []finding) sarifLog {
	run := sarifRun{Results: []sarifResult{}}
	run.Tool.Driver = sarifDriver{Name: "astra", InformationURI: "https://github.com/astra-grpc/astra"}
	for _, r := range rules {
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{
			ID: r.name, ShortDescription: sarifText{r.about}, FullDescription: sarifText{r.about + ": " + r.why + " (" + r.source + ")"},
		})
	}
	for _, f := range all {
		level := "warning"
		if f.Level == "fault" {
			level = "error"
		}
		var at sarifLocation
		at.PhysicalLocation.ArtifactLocation.URI = filepath.ToSlash(f.File)
		if f.Line > 0 {
			at.PhysicalLocation.Region = &sarifRegion{f.Line, max(f.Column, 1)}
		}
		run.Results = append(run.Results, sarifResult{f.Rule, level, sarifText{f.Text}, []sarifLocation{at}})
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}
