// Package archtest has no code, only tests: they hold the project's structure
// to its rules.
package archtest
