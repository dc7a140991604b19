package config

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/interceptors"
)

// pace is how long things take.
type pace struct {
	// quiet is how long a file must have been left alone to be read.
	quiet time.Duration
	// most is how long a file that never is left alone waits.
	most time.Duration
	// cutShort is how long, more than quiet, a file waits that ends within a
	// word: somebody may be writing the rest.
	cutShort time.Duration
	// poll is how often the file is looked at anyway.
	poll time.Duration
}

var usualPace = pace{quiet: 100 * time.Millisecond, most: time.Second, cutShort: time.Second, poll: 5 * time.Second}

// Watch sets the policies of a suite to those of a file: now, and after each
// change of the file until ctx ends. If the file has faults now, Watch returns
// them and watches nothing. Later faults change nothing: the policies stay as
// they are, [interceptors.Suite.Revision] and the suite's observers report the
// fault, and it is logged, once for each content. For what a reload keeps, such
// as the state of breakers and budgets, see [interceptors.Suite.Reload].
//
// A change is read once the file has not changed for 100 ms, or after a second
// if it changes all the time; a file that ends within a word is read a second
// later, since it may not be complete. A content that was applied or refused is
// not tried again until another one was. Writers should write a new file and
// rename it: a file that is half-written up to the end of a line cannot be
// recognised as such.
//
// The path may name a symbolic link, or lead through some; what they lead to
// may be swapped (Kubernetes' mounted ConfigMaps and Secrets are so), renamed,
// removed and made again, and so may the folders it is in. A file that is gone
// is a fault like any other, until it is back. Folders are watched by fsnotify,
// with one notification handle for each Watch. The file is also read every 5 s,
// which finds changes that no notification reports, as on network file systems;
// where there are no notifications at all, a warning is logged.
//
// The suite's logger receives, at level Info, that policies were replaced and
// that a file with faults is valid again; at level Warn, the document's
// warnings, those about keys of the channel once; at level Error, why policies
// were not replaced.
//
// Watch starts one goroutine, and fsnotify one; both end with ctx. Each call
// watches one file. If several watch files for the same suite, the one that
// changed last sets its policies.
func Watch(ctx context.Context, path string, s *interceptors.Suite, opts ...WatchOption) error {
	return watch(ctx, path, s, usualPace, newNotifier, opts...)
}

func watch(ctx context.Context, path string, s *interceptors.Suite, p pace, notifications func() (*notifier, error), opts ...WatchOption) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	w := &watcher{path: path, abs: abs, suite: s, pace: p, logged: map[string]bool{}, foreign: map[string]bool{}}
	for _, o := range opts {
		o(w)
	}
	if w.notifier, err = notifications(); err != nil {
		w.blind(err)
	}
	w.follow() // first, or a change after the reading would go unseen
	data, err := read(path)
	w.seen = identity(data, err)
	if err := w.take(data, err); err != nil {
		w.notifier.close()
		return err
	}
	go w.run(ctx)
	return nil
}

// watcher keeps a suite's policies those of a file. Only its goroutine uses it.
type watcher struct {
	path, abs string
	suite     *interceptors.Suite
	pace
	notifier *notifier       // nil: there are no notifications
	chaos    *chaos.Injector // nil: none

	seen    string          // the file's last content, or why it had none
	failed  bool            // its policies were not taken
	partial string          // a content that ends within a word, and is given time
	logged  map[string]bool // faulty contents that were logged, since the last good one
	foreign map[string]bool // keys of the channel that were warned of
	noted   bool            // it was logged that there are no notifications
}

// run ends when ctx does.
func (w *watcher) run(ctx context.Context) {
	defer w.notifier.close()
	defer w.updateChaos(nil)
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	var (
		quiet = time.NewTimer(time.Hour) // fires when the file has been left alone
		since time.Time                  // it has not been; zero: it has
	)
	defer quiet.Stop()
	quiet.Stop()
	wait := func(d time.Duration) {
		now := time.Now()
		if since.IsZero() {
			since = now
		}
		quiet.Reset(min(d, max(since.Add(w.most).Sub(now), 0)))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-w.notifier.events():
			if !open {
				w.notifier = nil
				w.blind(fsnotify.ErrClosed)
			} else if w.notifier.concerns(e) {
				wait(w.quiet)
			}
		case err, open := <-w.notifier.errors():
			if !open {
				continue // events are, too, which is logged once
			}
			w.suite.Logger().Warn("astra: notifications of the policy file were lost: reading the file", "path", w.path, "err", err)
			wait(w.quiet)
		case <-poll.C:
			if since.IsZero() {
				wait(w.quiet)
			}
		case <-quiet.C:
			since = time.Time{}
			if ctx.Err() != nil {
				return
			}
			if again := w.look(); again > 0 {
				since = time.Now()
				quiet.Reset(again)
			}
		}
	}
}

// look takes what the file holds now, if that is something else than before. It
// returns how long to wait first, if the file seems to be cut short.
func (w *watcher) look() (wait time.Duration) {
	w.follow()
	data, err := read(w.path)
	id := identity(data, err)
	if id == w.seen {
		return 0
	}
	if err == nil && cutShort(data) && w.partial != id {
		w.partial = id
		return w.cutShort
	}
	w.seen, w.partial = id, ""
	if err := w.take(data, err); err != nil {
		w.failed = true
		if !w.logged[id] {
			w.logged[id] = true
			w.suite.Logger().Error("astra: policy file has faults: policies unchanged; fix the file", "path", w.path, "err", err)
		}
		return 0
	}
	if w.failed {
		w.suite.Logger().Info("astra: policy file is valid again: policies reloaded", "path", w.path)
	}
	w.failed = false
	clear(w.logged)
	return 0
}

// take gives the suite the policies that were read.
func (w *watcher) take(data []byte, err error) error {
	var d *Document
	if err == nil {
		d, err = decode(data, w.path)
	}
	if err == nil {
		err = w.mayHaveChaos(d)
	}
	if err != nil {
		w.suite.ReloadFailed(err)
		return err
	}
	if err := w.suite.Reload(d.Options()...); err != nil {
		return err // which it has recorded itself
	}
	w.updateChaos(d.chaos)
	for _, warning := range d.warnings {
		if key := warning.channelKey; key != "" {
			if w.foreign[key] {
				continue
			}
			w.foreign[key] = true
		}
		w.suite.Logger().Warn("astra: policy file", "warning", warning.Error())
	}
	return nil
}

// identity distinguishes contents, and reasons why there is none.
func identity(data []byte, err error) string {
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(data)
	return string(sum[:])
}

// cutShort reports whether a file ends within a line, perhaps within a word: a
// bracket or a quote ends one, a line's end does.
func cutShort(data []byte) bool {
	return len(data) > 0 && bytes.IndexByte([]byte("\n}]\"'"), data[len(data)-1]) < 0
}

// follow watches what the path leads through now.
func (w *watcher) follow() {
	if w.notifier == nil {
		return
	}
	if err := w.notifier.follow(w.abs); err != nil && !errors.Is(err, fs.ErrNotExist) { // what is gone is reported otherwise
		w.blind(err)
	}
}

func (w *watcher) blind(err error) {
	if !w.noted {
		w.noted = true
		w.suite.Logger().Warn("astra: file notifications unavailable: polling the policy file",
			slog.String("path", w.path), slog.Duration("every", w.poll), slog.Any("err", err))
	}
}
