// Package browsertest looks at the status page with a real browser: it needs
// Chromium, and is skipped without it, unless ASTRA_REQUIRE_CHROMIUM is set.
//
//	go test -run TestScreenshots -screenshots ../../docs .
package browsertest

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//go:embed testdata/axe.min.js
var axe string // https://github.com/dequelabs/axe-core 4.11.0; testdata/axe.LICENSE

// browser is a page of a real browser.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	console []string // what it complains of
	allowed []string // what of that is meant to be
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("ASTRA_REQUIRE_CHROMIUM") != "" {
		t.Fatal("there is no Chromium in the path")
	}
	t.Skip("there is no Chromium in the path")
	return ""
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(2*time.Minute), chromedp.Flag("disable-dev-shm-usage", true))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancelAll := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(ctx)
	ctx, late := context.WithTimeout(ctx, 3*time.Minute)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.listen)
	t.Cleanup(func() {
		b.complaints()
		late()
		_ = chromedp.Cancel(ctx)
		cancel()
		cancelAll()
	})
	b.do(cdplog.Enable())
	return b
}

func (b *browser) listen(e any) {
	var text string
	switch e := e.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning || e.Type == runtime.APITypeAssert {
			text = fmt.Sprintf("console.%s: %s", e.Type, e.Args[0].Value)
		}
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Error()
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.LevelError || e.Entry.Level == cdplog.LevelWarning {
			text = fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.console = append(b.console, text)
	}
}

// complaints fails the test for what the browser's console has, of errors and of
// things that the policy for contents forbids.
func (b *browser) complaints() {
	b.mu.Lock()
	defer b.mu.Unlock()
next:
	for _, text := range b.console {
		for _, a := range b.allowed {
			if strings.Contains(text, a) {
				continue next
			}
		}
		b.t.Errorf("the console says: %s", text)
	}
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open loads a page and waits until it is kept current.
func (b *browser) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
	b.until(`document.getElementById("state-text").textContent === "live"`)
}

// until waits for something to be so on the page.
func (b *browser) until(js string) {
	b.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		err = chromedp.Run(b.ctx, chromedp.Poll(js, nil, chromedp.WithPollingTimeout(30*time.Second)))
		if err == nil || !strings.Contains(err.Error(), "-32000") { // the page it was asked on has gone
			break
		}
	}
	if err != nil {
		var text string
		_ = chromedp.Run(b.ctx, chromedp.Evaluate(`document.body.innerText`, &text))
		b.t.Fatalf("%s: %v\n%s", js, err, text)
	}
}

func ask[T any](b *browser, js string) (v T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(js, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return v
}

// size sets the window's size, in its own pixels, and how many of the screen's one
// of them has.
func (b *browser) size(width, height int64, scale float64) {
	b.t.Helper()
	b.do(emulation.SetDeviceMetricsOverride(width, height, scale, width < 600))
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}))
}

// accessible fails the test for each rule of axe that the page breaks.
func (b *browser) accessible(what string) {
	b.t.Helper()
	var violations []struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	b.do(chromedp.Evaluate(axe, nil))
	text := ask[string](b, `axe.run().then(r => JSON.stringify(r.violations))`)
	if err := json.Unmarshal([]byte(text), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		for _, n := range v.Nodes {
			b.t.Errorf("%s: %s: %s\n%s\n%s", what, v.ID, v.Help, n.HTML, n.FailureSummary)
		}
	}
	if passes := ask[int](b, `axe.run().then(r => r.passes.length)`); passes < 20 {
		b.t.Errorf("%s: axe looked at %d rules only", what, passes)
	}
}

func (b *browser) shoot(dir, name string) {
	b.t.Helper()
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
