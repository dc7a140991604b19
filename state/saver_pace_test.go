package state

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// TestSavesOfAnOutageArePaced: a busy client's breaker probes ten times a
// second, and its budget moves; neither wears the disk out.
func TestSavesOfAnOutageArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := fakeStore(t, d)
		suite := newSuite(t, s, interceptors.WithPolicy(interceptors.Policy{
			Retry:  interceptors.Retry{MaxAttempts: 2},
			Budget: interceptors.Budget{Burst: 100, MinPerSecond: 10},
		}))
		synctest.Wait()
		saves := func() int { return d.count("rename state.new") }
		first := saves()
		const seconds = 30
		for range seconds * 1000 {
			_ = call(suite, method, down)
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if n := saves() - first; n < seconds/2 || n > seconds+2 {
			t.Errorf("saved %d times in %d s of an outage, want once a second", n, seconds)
		}
		if st, err := restored(d.get(s.path), time.Now()); err != nil || len(st.Breakers) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
