package statuspage

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

//go:embed ui
var ui embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"ago": ago, "stamp": stamp, "clock": clock, "span": span, "num": num,
}).ParseFS(ui, "ui/*.html"))

// Option configures the page.
type Option func(*page)

// WithActions adds actions on breakers and backends, for requests for which
// authorise returns nil. It is called for each request, also for those that
// only read, to decide whether to offer actions; an error refuses the action,
// and the page shows its text. It must be safe for concurrent use.
func WithActions(authorise func(*http.Request) error) Option {
	return func(p *page) { p.authorise = authorise }
}

// WithReload adds an action that calls reload, to read the policies again, for
// those whom [WithActions] authorises. The page shows its error.
func WithReload(reload func(context.Context) error) Option {
	return func(p *page) { p.reload = reload }
}

// WithTitle names the program. Default: "Astra".
func WithTitle(title string) Option {
	return func(p *page) { p.title = title }
}

// WithMaxViewers bounds how many open pages are kept current at a time; others
// stay as they were when they were loaded. Default, also for n < 1: 16.
func WithMaxViewers(n int) Option {
	return func(p *page) {
		if n > 0 {
			p.maxViewers = int64(n)
		}
	}
}

// New returns the page of a suite, which must not be nil. It starts no
// goroutine and need not be closed; streams to open pages end when the suite is
// closed.
func New(s *interceptors.Suite, opts ...Option) http.Handler {
	p := &page{suite: s, title: "Astra", maxViewers: 16, every: time.Second, secret: []byte(rand.Text())}
	for _, o := range opts {
		o(p)
	}
	return p
}

type page struct {
	suite      *interceptors.Suite
	title      string
	authorise  func(*http.Request) error // nil: there are no actions
	reload     func(context.Context) error
	secret     []byte // of the tokens
	every      time.Duration
	maxViewers int64
	viewers    atomic.Int64

	mu   sync.Mutex // guards what follows
	last interceptors.Snapshot
	at   time.Time
}

// fresh is how long a snapshot serves: many viewers must not cost more than one.
const fresh = 200 * time.Millisecond

func (p *page) snapshot() interceptors.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) > fresh {
		p.last, p.at = p.suite.Snapshot(), time.Now()
	}
	return p.last
}

// forget has the next snapshot be a new one.
func (p *page) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = time.Time{}
}

const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ServeHTTP implements [http.Handler].
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	name := path.Base("/" + r.URL.Path)
	if strings.HasSuffix(r.URL.Path, "/") || r.URL.Path == "" {
		name = ""
	}
	if name == "steer" {
		p.steer(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "405: method not allowed: want GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	switch name {
	case "", "method", "backend", "policies":
		p.show(w, r, name)
	case "live":
		p.live(w, r)
	case "style.css", "page.js", "icon.svg":
		asset(w, r, name)
	default:
		http.Error(w, "404: no such page", http.StatusNotFound)
	}
}

func asset(w http.ResponseWriter, r *http.Request, name string) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, ui, "ui/"+name)
}

// missing is what is said of pages that there are not.
var missing = map[string]string{
	"method":  "404: method not found: no recent call used it",
	"backend": "404: backend not found: no connection of the suite knows it",
}

// show answers with a page, or what it is made of.
func (p *page) show(w http.ResponseWriter, r *http.Request, name string) {
	v, data, ok := p.view(r, name)
	if !ok {
		http.Error(w, missing[name], http.StatusNotFound)
		return
	}
	switch format(r) {
	case "json":
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(data) // a client that has gone wants no error
	case "yaml":
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write([]byte(v.YAML()))
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		text, err := render("page.html", v)
		if err == nil {
			_, err = w.Write(text)
		}
		if err != nil {
			p.suite.Logger().Debug("astra: sending a status page failed", "err", err)
		}
	}
}

// render returns a template's text as UTF-8, which names and titles may not be.
func render(name string, v *view) ([]byte, error) {
	var b bytes.Buffer
	err := pages.ExecuteTemplate(&b, name, v)
	return bytes.ToValidUTF8(b.Bytes(), []byte("\uFFFD")), err
}

// format is what a request wants: "html", "json" or "yaml".
func format(r *http.Request) string {
	if f := r.URL.Query().Get("format"); f != "" {
		return f
	}
	accept := r.Header.Get("Accept")
	switch {
	case strings.Contains(accept, "text/html"):
	case strings.Contains(accept, "application/json"):
		return "json"
	case strings.Contains(accept, "yaml"):
		return "yaml"
	}
	return "html"
}
