//go:build !race

package overhead

const distorted = false
