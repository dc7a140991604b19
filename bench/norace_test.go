//go:build !race

package bench

const distorted = false
