//go:build race

package chaostest

// raceEnabled: the detector makes everything late, so that times say nothing.
const raceEnabled = true
