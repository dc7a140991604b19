//go:build !unix

package state

// unfollowed is nothing: this system has no such flags.
const unfollowed = 0
