// Package doctest has no code, only tests: they hold README.md, the pages of docs
// and the other documents to what the code does. Every Go block of a document is
// part of an Example, of its package or of a program in examples, where it is
// compiled and run.
package doctest
