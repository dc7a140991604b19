package browsertest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/statuspage"
)

const farmTarget = "farm:///orders"

// openFarm is a program whose suite balances load between two backends, and its
// status page.
func openFarm(t *testing.T, page ...statuspage.Option) (s *interceptors.Suite, address string, backends []string) {
	t.Helper()
	answers := new(shop) // with what it is asked for
	server := grpc.NewServer(grpc.UnknownServiceHandler(answers.serve))
	var serving sync.WaitGroup
	var endpoints []resolver.Endpoint
	for range 2 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		serving.Go(func() { _ = server.Serve(listener) })
		backends = append(backends, listener.Addr().String())
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: listener.Addr().String()}}})
	}
	names := manual.NewBuilderWithScheme("farm")
	names.InitialState(resolver.State{Endpoints: endpoints})
	s, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}), interceptors.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		t.Fatal(err)
	}
	cc, err := grpc.NewClient(farmTarget, append(s.DialOptions(), grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/astra/", statuspage.New(s, page...))
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		_ = s.Close()
		web.CloseClientConnections()
		web.Close()
		_ = cc.Close()
		server.Stop()
		serving.Wait()
	})
	connected := func() (n int) {
		for _, b := range s.Snapshot().Backends {
			if b.Connected {
				n++
			}
		}
		return n
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for connected() < 2 {
		if err := cc.Invoke(ctx, place, new(emptypb.Empty), new(emptypb.Empty)); err != nil {
			t.Fatal(err)
		}
	}
	return s, web.URL + "/astra/", backends
}

func TestBackendIsDrainedAndReturned(t *testing.T) {
	s, page, backends := openFarm(t, anybody)
	b := newBrowser(t)
	forced := func() string {
		for _, one := range s.Snapshot().Backends {
			if one.Address == backends[0] {
				return one.Forced
			}
		}
		return "(gone)"
	}
	b.open(page)
	row := `[...document.querySelectorAll("#backends a")].find(a => a.textContent === "` + backends[0] + `")`
	b.until(row + ` !== undefined`)
	_ = ask[bool](b, row+`.click(), true`)
	b.do(chromedp.WaitVisible(`#steer`))
	b.do(chromedp.Click(`button[value=drain]`)) // no time was chosen: the browser asks for it
	if !ask[bool](b, `document.getElementById("for").validity.valueMissing`) || forced() != "" {
		t.Error("a drain without a time is not held back")
	}
	b.do(chromedp.SetValue(`#for`, "5m"), chromedp.Click(`button[value=drain]`), chromedp.WaitVisible(`.said`))
	b.until(`document.querySelector(".said").textContent.includes("drained for 5 min")`)
	if f := forced(); f != "out" {
		t.Errorf("forced %q, want out", f)
	}
	b.until(`document.querySelector("#backend").textContent.includes("Drained by hand: it gets no new attempts")`)
	b.do(chromedp.Click(`button[value=return]`))
	b.until(`document.querySelector(".said")?.textContent.includes("The backend is back")`)
	if f := forced(); f != "" {
		t.Errorf("forced %q after its return", f)
	}
}

func TestBackendPageIsForEverybody(t *testing.T) {
	s, page, backends := openFarm(t, anybody)
	if err := s.DrainBackend(farmTarget, backends[0], time.Hour); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	address := page + "backend?" + url.Values{"target": {farmTarget}, "backend": {backends[0]}}.Encode()
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, at := range []string{page, address} {
			b.open(at)
			b.accessible(scheme + " " + at)
		}
	}
	for _, width := range []int64{320, 390, 1280} {
		b.size(width, 800, 1)
		for _, at := range []string{page, address} {
			b.open(at)
			if wide := ask[int64](b, `document.documentElement.scrollWidth`); wide > width {
				t.Errorf("%s is %d wide on a screen of %d", at, wide, width)
			}
		}
	}
	// It is live: the return is seen without loading it again.
	_ = ask[bool](b, `window.sameDocument = true`)
	if err := s.ReturnBackend(farmTarget, backends[0]); err != nil {
		t.Fatal(err)
	}
	b.until(`document.querySelector("#backend").textContent.includes("It gets its share of the calls") && window.sameDocument === true`)
}

func TestNoBackendActionsWithoutTheFunction(t *testing.T) {
	s, page, backends := openFarm(t)
	b := newBrowser(t)
	b.open(page + "backend?" + url.Values{"target": {farmTarget}, "backend": {backends[0]}}.Encode())
	if ask[bool](b, `document.querySelector("form[method=post]") !== null`) {
		t.Error("there is a form")
	}
	b.allowed = append(b.allowed, "403")
	code := ask[int](b, `fetch("steer", {method: "POST", body: new URLSearchParams({action: "drain", target: "`+farmTarget+`", backend: "`+backends[0]+`", for: "5m"})}).then(r => r.status)`)
	if code != http.StatusForbidden || s.Snapshot().Backends[0].Forced != "" {
		t.Errorf("%d for an action, want 403", code)
	}
}
