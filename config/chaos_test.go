package config_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/config"
)

const drill = `chaos:
  for: 1m
  faults: [{method: "*", kind: unsent, share: 1}]
`

// injects reports whether an attempt meets a fault.
func injects(i *chaos.Injector) bool {
	return i.UnaryClientInterceptor()(context.Background(), "/a.B/C", nil, nil, nil,
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }) != nil
}

// A plan begins with the file that has it, goes on while other policies come, ends
// with one that has none, and with the watch.
func TestWatchChaos(t *testing.T) {
	path := inFolder(t)
	synctest.Test(t, func(t *testing.T) {
		i, err := chaos.New(chaos.WithConsent())
		must(t, err)
		w := start(t, path, attempts(2), config.WatchBlind, config.WithChaos(i))
		want := func(what string, on bool) {
			t.Helper()
			if injects(i) != on || i.Active() != on {
				t.Fatalf("%s: active %v, want %v", what, i.Active(), on)
			}
		}
		want("no plan", false)
		change := func(content string) {
			write(t, path, content)
			settle()
		}
		change(attempts(2) + drill)
		want("a plan", true)
		time.Sleep(30 * time.Second)
		change(attempts(3) + drill)
		w.wantAttempts(3)
		want("other policies", true)
		change(strings.Replace(attempts(4)+drill, "share: 1", "share: 2", 1))
		w.wantAttempts(3)
		want("a faulty file", true)
		time.Sleep(20 * time.Second)
		want("past the first minute", false)
		change(attempts(5) + drill)
		want("the same plan again", false)
		change(attempts(5) + strings.Replace(drill, "1m", "1h", 1))
		want("another plan", true)
		i.Stop()
		want("stopped", false)
		change(attempts(6) + strings.Replace(drill, "1m", "1h", 1))
		want("stopped, and other policies", false)
		change(attempts(6) + strings.Replace(drill, "1m", "2h", 1))
		want("yet another", true)
		change(attempts(6))
		want("taken away", false)
		change(attempts(6) + drill)
		want("back", true)
		w.stop()
		synctest.Wait()
		want("the watch is over", false)
	})
}

// Without consent the whole file is refused, now and later.
func TestWatchRefusesChaos(t *testing.T) {
	path := inFolder(t)
	synctest.Test(t, func(t *testing.T) {
		without, err := chaos.New()
		must(t, err)
		for name, opts := range map[string][]config.WatchOption{"no injector": nil, "no consent": {config.WithChaos(without)}} {
			w := start(t, path, attempts(2), config.WatchBlind, opts...)
			write(t, path, attempts(4)+drill)
			settle()
			w.wantAttempts(2)
			if err := w.suite.Revision().Err; err == nil || !strings.Contains(err.Error(), path+":7:1: chaos: is rejected") {
				t.Errorf("%s: %v, want that the chaos object is rejected", name, err)
			}
			if without.Active() {
				t.Errorf("%s: a plan began", name)
			}
			w.stop()
			synctest.Wait()
			if err := config.Watch(t.Context(), path, w.suite, opts...); err == nil {
				t.Errorf("%s: Watch takes it", name)
			}
		}
	})
}

func TestParseRefusesChaos(t *testing.T) {
	if _, err := config.Parse([]byte(drill)); err == nil || !strings.Contains(err.Error(), "line 1, column 1: chaos: is rejected") {
		t.Errorf("Parse: %v", err)
	}
	d, err := config.Decode([]byte(drill))
	if err != nil || d.Chaos() == nil || d.Chaos().For != time.Minute {
		t.Errorf("Decode: %v, %+v", err, d)
	}
}
