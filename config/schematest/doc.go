// Package schematest has no code, only tests: they hold the JSON Schema of
// policy files against their decoder, by a validator that is nobody's
// dependency but this module's.
package schematest
