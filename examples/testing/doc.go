// Package testing shows how an application tests its policy file, with package
// astratest: policy_test.go is what a user writes. broken_test.go runs the same
// tests with policies that are wrong, and sees them fail.
package testing
