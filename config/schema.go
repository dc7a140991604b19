package config

import (
	_ "embed"
	"slices"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 7) of the document, for editors. It
// knows what can be said of one value: what keys there are, types, ranges of
// numbers, names. What it cannot say is left to [Parse]: ranges of durations,
// and rules between fields and between entries. It knows keys in one spelling
// only, so an editor marks gRPC's in another case, which Parse takes.
//
// Editors find it by "$schema" in JSON, and in YAML by a first line
//
//	# yaml-language-server: $schema=policy.schema.json
func Schema() []byte { return slices.Clone(schema) }
