package config

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 7) of the document, for editors. It has
// what concerns a single value: keys, types, ranges of numbers, names. Ranges
// of durations, and rules between fields and between entries, are checked only
// by [Parse]. It has keys in one spelling, so an editor marks gRPC's in another
// case, which Parse accepts.
//
// Editors find it by "$schema" in JSON, and in YAML by a first line
//
//	# yaml-language-server: $schema=policy.schema.json
func Schema() []byte { return slices.Clone(schema) }
