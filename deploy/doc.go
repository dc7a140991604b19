// Package deploy has no code: it holds what Prometheus and Grafana are given, and
// the tests of that. prometheus/astra.rules.yml has the recording and alert rules,
// grafana/astra.json the dashboard; docs/metrics-and-alerts.md is the runbook, and docs/on-call.md
// what is seen of seven causes, which a test brings about.
package deploy
