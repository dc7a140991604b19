// Package doctest has no code, only tests: they hold README.md, CHANGELOG.md
// and CONTRIBUTING.md to what the code does. Every Go block of README stands
// word for word in a file of this folder, where it compiles and is run.
package doctest
