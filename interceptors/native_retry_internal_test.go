package interceptors

import (
	"fmt"
	"testing"
)

// TestTargetsWarnedOfAreBounded: some connections have a target of their own
// each.
func TestTargetsWarnedOfAreBounded(t *testing.T) {
	var l nativeRetryCheck
	n := 0
	for i := range 2 * maxWarned {
		for range 2 {
			if l.first(fmt.Sprint("etcd-endpoints://", i)) {
				n++
			}
		}
	}
	if n != maxWarned || len(l.warned) != maxWarned {
		t.Errorf("%d warnings, %d targets kept, want %d", n, len(l.warned), maxWarned)
	}
}
