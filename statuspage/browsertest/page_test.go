package browsertest

import (
	"flag"
	"net/http"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/statuspage"
)

var screenshots = flag.String("screenshots", "", "write the page's pictures into this `folder`")

var anybody = statuspage.WithActions(func(*http.Request) error { return nil })

func ofMethod(base, method, target string) string {
	return base + "method?method=" + method + "&target=" + target
}

func TestBreakerOpensBeforeTheReadersEyes(t *testing.T) {
	s, b := openShop(t), newBrowser(t)
	s.ordinary()
	b.open(s.page)
	if got := ask[string](b, `document.getElementById("headline").textContent`); got != "All is well" {
		t.Errorf("%q", got)
	}
	_ = ask[bool](b, `window.sameDocument = true`)
	b.do(chromedp.Focus(`#q`), chromedp.SendKeys(`#q`, "ord"))
	s.script(place, codes.Unavailable)
	s.call(place, 20)
	b.until(`document.getElementById("headline").textContent === "1 breaker is not closed"`)
	b.until(`document.querySelector("#troubles") && document.querySelector("#troubles").textContent.includes("Since when")`)
	b.until(`document.getElementById("announce").textContent.includes("1 breaker is not closed")`)
	if !ask[bool](b, `window.sameDocument === true`) {
		t.Error("the page was loaded again")
	}
	if got := ask[string](b, `document.activeElement.id + "=" + document.activeElement.value`); got != "q=ord" {
		t.Errorf("the reader was writing and has %q", got)
	}
	order := ask[string](b, `[...document.getElementById("live").children].map(e => e.id).join(" ")`)
	if want := "hero tiles troubles methods calls history"; order != want {
		t.Errorf("sections %s, want %s", order, want)
	}
	b.do(emulation.SetScriptExecutionDisabled(true), chromedp.Navigate(s.page))
	b.do(chromedp.WaitVisible(`#troubles`)) // it can be read without script
}

func TestTroubleGoesAway(t *testing.T) {
	s, b := openShop(t), newBrowser(t)
	s.ordinary()
	target := homes["shop.Orders"]
	if err := s.suite.ForceOpen(target, place, 1<<40); err != nil {
		t.Fatal(err)
	}
	b.open(s.page)
	b.until(`document.querySelector("#troubles") !== null`)
	if err := s.suite.Release(target, place); err != nil {
		t.Fatal(err)
	}
	s.call(place, 1)
	b.until(`document.querySelector("#troubles") === null && document.getElementById("headline").textContent === "All is well"`)
}

func TestPhoneHasNoSidewaysScrolling(t *testing.T) {
	s, b := openShop(t, anybody), newBrowser(t)
	s.ordinary()
	s.trouble()
	for _, width := range []int64{320, 390, 768, 1280} {
		b.size(width, 800, 1)
		for _, address := range []string{s.page, ofMethod(s.page, place, homes["shop.Orders"]), s.page + "policies"} {
			b.open(address)
			if wide := ask[int64](b, `document.documentElement.scrollWidth`); wide > width {
				t.Errorf("%s is %d wide on a screen of %d", address, wide, width)
			}
		}
	}
}

func TestAccessible(t *testing.T) {
	s, b := openShop(t, anybody), newBrowser(t)
	for _, bad := range []bool{false, true} {
		s.ordinary()
		if bad {
			s.trouble()
			_ = s.suite.Reload(nil)
		}
		for _, scheme := range []string{"light", "dark"} {
			b.scheme(scheme)
			for _, address := range []string{s.page, ofMethod(s.page, place, homes["shop.Orders"]), s.page + "policies"} {
				b.open(address)
				b.accessible(scheme + " " + address)
			}
		}
	}
	b.size(390, 800, 1)
	b.open(s.page)
	b.accessible("phone")
}

func TestSchemes(t *testing.T) {
	s, b := openShop(t), newBrowser(t)
	seen := map[string]bool{}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.open(s.page)
		seen[ask[string](b, `getComputedStyle(document.body).backgroundColor`)] = true
	}
	if len(seen) != 2 {
		t.Errorf("backgrounds %v, want one for each scheme", seen)
	}
}

func TestKeyboard(t *testing.T) {
	s, b := openShop(t), newBrowser(t)
	s.ordinary()
	b.open(s.page)
	b.do(chromedp.KeyEvent(kb.Tab))
	if got := ask[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q, want the way past the header", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === "main"`)
}

func TestActions(t *testing.T) {
	s, b := openShop(t, anybody), newBrowser(t)
	s.ordinary()
	target := homes["shop.Orders"]
	b.open(ofMethod(s.page, place, target))
	b.do(chromedp.Click(`button[value=force_open]`)) // no time was chosen: the browser asks for it
	if got := ask[bool](b, `document.getElementById("for").validity.valueMissing`); !got {
		t.Error("an action without a time is not held back")
	}
	b.do(chromedp.SetValue(`#for`, "5m"), chromedp.Click(`button[value=force_open]`), chromedp.WaitVisible(`.said`))
	b.until(`document.querySelector(".said").textContent.includes("held open for 5 min")`)
	for _, m := range s.suite.Snapshot().Methods {
		if m.Method == place && m.Breaker.Forced != "open" {
			t.Errorf("%+v", m.Breaker)
		}
	}
	b.do(chromedp.Click(`button[value=release]`))
	b.until(`document.querySelector(".said")?.textContent.includes("on its own again")`)
}

func TestNoActionsWithoutTheFunction(t *testing.T) {
	s, b := openShop(t), newBrowser(t)
	s.ordinary()
	b.open(ofMethod(s.page, place, homes["shop.Orders"]))
	if ask[bool](b, `document.querySelector("form[method=post]") !== null`) {
		t.Error("there is a form")
	}
	b.allowed = append(b.allowed, "403")
	code := ask[int](b, `fetch("steer", {method: "POST", body: new URLSearchParams({action: "force_open", target: "`+homes["shop.Orders"]+`", method: "`+place+`", for: "5m"})}).then(r => r.status)`)
	if code != http.StatusForbidden {
		t.Errorf("%d for an action, want 403", code)
	}
}

// TestScreenshots writes the pictures of docs/status-page.md, if asked to.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("not asked for")
	}
	s, b := openShop(t, anybody), newBrowser(t)
	s.ordinary()
	s.trouble()
	b.scheme("light")
	b.size(1280, 1180, 1.5)
	b.open(s.page)
	b.shoot(*screenshots, "status-light.png")
	b.scheme("dark")
	b.open(s.page)
	b.shoot(*screenshots, "status-dark.png")
	b.scheme("light")
	b.size(390, 1100, 2)
	b.open(ofMethod(s.page, place, homes["shop.Orders"]))
	b.shoot(*screenshots, "status-phone.png")
	b.size(1280, 1180, 1.5)
	b.open(ofMethod(s.page, place, homes["shop.Orders"]))
	b.shoot(*screenshots, "status-method.png")
}
