package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
)

// attempts is a policy file for calls of n attempts, without anything that
// would refuse one.
func attempts(n int) string {
	return fmt.Sprintf(`methodConfig:
- name: [{}]
  astra:
    retry: {maxAttempts: %d, backoff: {base: 1ns, max: 1ns, jitter: none}}
    breaker: {disabled: true}
    budget: {disabled: true}
`, n)
}

const broken = "methodConfig: [{retryPolicy: {maxAttempts: 1}}]\n"

// watched is a suite whose policies are those of a file, and what it says.
type watched struct {
	t       *testing.T
	suite   *interceptors.Suite
	path    string
	notices chan observe.SuiteEvent
	log     *journal
	stop    context.CancelFunc
}

func (*watched) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks{} }
func (w *watched) SuiteEvent(n observe.SuiteEvent)      { w.notices <- n }

type watchFunc = func(context.Context, string, *interceptors.Suite, ...config.WatchOption) error

func newWatched(t *testing.T, path string) *watched {
	t.Helper()
	w := &watched{t: t, path: path, notices: make(chan observe.SuiteEvent, 1000), log: &journal{}}
	quick := interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: 1, Max: 1}}, Breaker: interceptors.Breaker{Disabled: true}}
	suite, err := interceptors.New(interceptors.WithPolicy(quick), interceptors.WithObserver(w), interceptors.WithLogger(slog.New(slog.NewTextHandler(w.log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	w.suite = suite
	t.Cleanup(func() { _ = suite.Close() })
	return w
}

// start writes a file and watches it.
func start(t *testing.T, path, content string, watch watchFunc, opts ...config.WatchOption) *watched {
	t.Helper()
	w := newWatched(t, path)
	if content != "" {
		write(t, path, content)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.stop = cancel
	t.Cleanup(cancel)
	if err := watch(ctx, path, w.suite, opts...); err != nil {
		t.Fatal(err)
	}
	w.wait("success")
	return w
}

// wait waits for the next notice, and sees that it says that.
func (w *watched) wait(result string) observe.SuiteEvent {
	w.t.Helper()
	select {
	case n := <-w.notices:
		if n.Kind != observe.Reloaded || n.Result.String() != result || (n.Err != nil) != (result == "failed") {
			w.t.Fatalf("a notice of %s (%v), want %s\n%s", n.Result, n.Err, result, w.log)
		}
		return n
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no notice, want %s\n%s", result, w.log)
	}
	panic("unreachable")
}

// until waits until a policy holds; on the way there may be others.
func (w *watched) until(attempts int) {
	w.t.Helper()
	for w.attempts() != attempts {
		select {
		case <-w.notices:
		case <-time.After(20 * time.Second):
			w.t.Fatalf("calls are tried %d times, want %d\n%s", w.attempts(), attempts, w.log)
		}
	}
}

// attempts counts those of a call that fails.
func (w *watched) attempts() (n int) {
	_ = w.suite.UnaryClientInterceptor()(context.Background(), "/a.B/C", nil, nil, nil,
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			n++
			return status.Error(codes.Unavailable, "down")
		})
	return n
}

func (w *watched) wantAttempts(want int) {
	w.t.Helper()
	if got := w.attempts(); got != want {
		w.t.Fatalf("calls are tried %d times, want %d\n%s", got, want, w.log)
	}
}

// journal is a log to be read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// count returns how many lines have all the parts.
func (j *journal) count(parts ...string) (n int) {
	for line := range strings.Lines(j.String()) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			n++
		}
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write truncates a file and writes it.
func write(t *testing.T, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

// replace writes another file and renames it, as careful writers do.
func replace(t *testing.T, path, content string) {
	t.Helper()
	write(t, path+"~", content)
	must(t, os.Rename(path+"~", path))
}

func inFolder(t *testing.T) string { return filepath.Join(t.TempDir(), "policy.yaml") }

func TestWatchAppliesNow(t *testing.T) {
	w := start(t, inFolder(t), attempts(4), config.Watch)
	w.wantAttempts(4)
	if r := w.suite.Revision(); r.Generation != 2 || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

func TestWatchReturnsWhyNot(t *testing.T) {
	for name, path := range map[string]string{
		"faults":           filepath.Join("testdata", "faults", "a6.yaml"),
		"no such file":     inFolder(t),
		"no such folder":   filepath.Join(t.TempDir(), "a", "b", "policy.yaml"),
		"a folder":         t.TempDir(),
		"a device":         os.DevNull,
		"a file on a path": filepath.Join("testdata", "valid", "own.yaml", "policy.yaml"),
	} {
		w := newWatched(t, path)
		before := w.attempts()
		err := config.Watch(t.Context(), path, w.suite)
		var fault *config.Fault
		if _, joined := err.(interface{ Unwrap() []error }); !joined || !errors.As(err, &fault) || fault.File != path {
			t.Errorf("%s: %v", name, err)
		}
		if r := w.suite.Revision(); r.Err == nil || r.Generation != 1 {
			t.Errorf("%s: %+v", name, r)
		}
		w.wait("failed")
		w.wantAttempts(before)
		if missing := strings.HasPrefix(name, "no such"); errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("%s: %v is fs.ErrNotExist: %t, want %t", name, err, !missing, missing)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := newWatched(t, inFolder(t))
	write(t, w.path, attempts(4))
	if err := config.Watch(ctx, w.path, w.suite); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// TestChanges of the file, by all the ways that writers have.
func TestChanges(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, path, content string){
		"renamed over it": replace,
		"truncated and written": func(t *testing.T, path, content string) {
			f, err := os.Create(path)
			must(t, err)
			for chunk := range slices.Chunk([]byte(content), 10) {
				_, err := f.Write(chunk)
				must(t, err)
			}
			must(t, f.Close())
		},
		"moved away and written": func(t *testing.T, path, content string) {
			must(t, os.Rename(path, path+".bak"))
			write(t, path, content)
		},
		"removed and linked": func(t *testing.T, path, content string) {
			write(t, path+"~", content)
			must(t, os.Remove(path))
			must(t, os.Link(path+"~", path))
		},
		"removed, and another's link": func(t *testing.T, path, content string) {
			other := filepath.Join(t.TempDir(), "elsewhere.yaml")
			write(t, other, content)
			must(t, os.Remove(path))
			must(t, os.Symlink(other, path))
		},
		"written in place": func(t *testing.T, path, content string) {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			_, err = f.WriteAt([]byte(content), 0)
			must(t, err)
			must(t, f.Truncate(int64(len(content))))
			must(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, inFolder(t), attempts(2), func(ctx context.Context, path string, s *interceptors.Suite, _ ...config.WatchOption) error {
				return config.WatchPatiently(ctx, path, s, 500*time.Millisecond) // a busy machine's writers are slow
			})
			for n := 3; n < 6; n++ {
				change(t, w.path, attempts(n))
				w.wait("success")
				w.wantAttempts(n)
			}
		})
	}
}

// TestKubernetes swaps a mounted ConfigMap as the kubelet does: its files are
// links into ..data, which is a link to a folder of this generation.
func TestKubernetes(t *testing.T) {
	mount := t.TempDir()
	path := filepath.Join(mount, "policy.yaml")
	swap := func(generation int) {
		dir := fmt.Sprintf("..2026_01_%02d", generation)
		must(t, os.Mkdir(filepath.Join(mount, dir), 0o700))
		write(t, filepath.Join(mount, dir, "policy.yaml"), attempts(generation))
		must(t, os.Symlink(dir, filepath.Join(mount, "..data_tmp")))
		must(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
		must(t, os.RemoveAll(filepath.Join(mount, fmt.Sprintf("..2026_01_%02d", generation-1))))
	}
	swap(2)
	must(t, os.Symlink(filepath.Join("..data", "policy.yaml"), path))
	w := start(t, path, "", config.WatchNotifiedOnly)
	for n := 3; n < 7; n++ {
		swap(n)
		w.wait("success")
		w.wantAttempts(n)
	}
}

// TestLinksOnTheWay: a folder on the path is a link, which is swapped.
func TestLinksOnTheWay(t *testing.T) {
	dir := t.TempDir()
	for n := 2; n < 4; n++ {
		must(t, os.MkdirAll(filepath.Join(dir, fmt.Sprint("v", n), "etc"), 0o700))
		write(t, filepath.Join(dir, fmt.Sprint("v", n), "etc", "policy.yaml"), attempts(n))
	}
	link := filepath.Join(dir, "current")
	must(t, os.Symlink("v2", link))
	w := start(t, filepath.Join(link, "etc", "policy.yaml"), "", config.WatchNotifiedOnly)
	w.wantAttempts(2)
	must(t, os.Symlink("v3", link+"~"))
	must(t, os.Rename(link+"~", link))
	w.wait("success")
	w.wantAttempts(3)
	write(t, filepath.Join(dir, "v3", "etc", "policy.yaml"), attempts(4)) // the new one is followed
	w.wait("success")
	w.wantAttempts(4)
}

func TestRemovalAndReturn(t *testing.T) {
	w := start(t, inFolder(t), attempts(2), config.WatchNotifiedOnly)
	must(t, os.Remove(w.path))
	if n := w.wait("failed"); !errors.Is(n.Err, fs.ErrNotExist) {
		t.Errorf("%v", n.Err)
	}
	w.wantAttempts(2)
	write(t, w.path, attempts(2)) // as it was: the error is to go
	w.wait("success")
	if r := w.suite.Revision(); r.Err != nil {
		t.Errorf("%+v", r)
	}
	// A folder in its place cannot be read, as a file without permission cannot.
	must(t, os.Remove(w.path))
	must(t, os.Mkdir(w.path, 0o700))
	w.wait("failed")
	w.wantAttempts(2)
	must(t, os.Remove(w.path))
	replace(t, w.path, attempts(3))
	w.until(3)
}

func TestFolderGoesAndReturns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	must(t, os.MkdirAll(dir, 0o700))
	w := start(t, filepath.Join(dir, "policy.yaml"), attempts(2), config.WatchNotifiedOnly)
	must(t, os.RemoveAll(filepath.Dir(dir)))
	w.wait("failed")
	for n := 3; n < 5; n++ { // made again; then moved away, and made again
		must(t, os.MkdirAll(dir, 0o700))
		replace(t, w.path, attempts(n))
		w.until(n)
		must(t, os.Rename(dir, fmt.Sprint(dir, n)))
		w.wait("failed")
		w.wantAttempts(n)
	}
}

// TestFolderAboveGoes: of what happens further up no notification comes, but the
// file is looked at, and what is there then is followed.
func TestFolderAboveGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	must(t, os.MkdirAll(dir, 0o700))
	w := start(t, filepath.Join(dir, "policy.yaml"), attempts(2), config.WatchOften)
	for n := 3; n < 5; n++ {
		must(t, os.Rename(filepath.Dir(dir), fmt.Sprint(filepath.Dir(dir), n)))
		w.wait("failed")
		must(t, os.MkdirAll(dir, 0o700))
		replace(t, w.path, attempts(n))
		w.until(n)
	}
}

func TestRapidChanges(t *testing.T) {
	w := start(t, inFolder(t), attempts(2), config.Watch)
	const changes = 300
	for i := range changes {
		if i%2 == 0 {
			replace(t, w.path, attempts(3+i%5))
		} else {
			write(t, w.path, attempts(3+i%5))
		}
	}
	replace(t, w.path, attempts(9))
	w.until(9)
	if g := w.suite.Revision().Generation; g > changes/4 {
		t.Errorf("%d reloads of %d changes made without a pause", g, changes)
	}
}

// TestStateSurvives: an open breaker stays open when the file changes, under
// load, and closes when its time is over.
func TestStateSurvives(t *testing.T) {
	policy := func(consecutive int) string {
		return fmt.Sprintf("methodConfig: [{name: [{}], astra: {retry: {maxAttempts: 1}, breaker: {consecutive: %d, openFor: 1h, maxOpenFor: 1h}}}]\n", consecutive)
	}
	w := start(t, inFolder(t), policy(1), config.Watch)
	call := func(method string, err error) error {
		return w.suite.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil,
			func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return err })
	}
	_ = call("/a.B/Dead", status.Error(codes.Unavailable, "down"))
	if err := call("/a.B/Dead", nil); !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Fatalf("the breaker is not open: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := call("/a.B/Well", nil); err != nil {
					t.Errorf("a call in a reload: %v", err)
					return
				}
				if err := call("/a.B/Dead", nil); !errors.Is(err, interceptors.ErrBreakerOpen) {
					t.Errorf("a reload closed the breaker: %v", err)
					return
				}
			}
		})
	}
	for n := 2; n < 6; n++ {
		replace(t, w.path, policy(n))
		w.wait("success")
		write(t, w.path, broken)
		w.wait("failed")
	}
	cancel()
	load.Wait()
}
