package statuspage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// actions are what a reader may do.
type actions struct {
	Token  string
	Reload bool
}

// actions returns nil to those who may do nothing.
func (p *page) actions(r *http.Request) *actions {
	if p.authorise == nil || p.authorise(r) != nil {
		return nil
	}
	return &actions{Token: p.token(time.Now()), Reload: p.reload != nil}
}

// tokenLife is how long a page that lies open can act, at least.
const tokenLife = time.Hour

// token proves that a form was on a page of ours, which a page of others cannot
// read.
func (p *page) token(now time.Time) string {
	period := strconv.FormatInt(now.Unix()/int64(tokenLife.Seconds()), 10)
	m := hmac.New(sha256.New, p.secret)
	m.Write([]byte(period))
	return hex.EncodeToString(m.Sum(nil))
}

func (p *page) ours(token string) bool {
	now := time.Now()
	return hmac.Equal([]byte(token), []byte(p.token(now))) || hmac.Equal([]byte(token), []byte(p.token(now.Add(-tokenLife))))
}

const maxForm = 16 << 10

// steer is what a form asks for.
func (p *page) steer(w http.ResponseWriter, r *http.Request) {
	refuse := func(code int, why string) {
		p.suite.Logger().Warn("astra: action of the status page refused", "code", code, "why", why, "remote", r.RemoteAddr)
		http.Error(w, strconv.Itoa(code)+": "+why, code)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		refuse(http.StatusMethodNotAllowed, "actions are POSTs")
		return
	}
	if p.authorise == nil {
		refuse(http.StatusForbidden, "this program offers no actions: see statuspage.WithActions")
		return
	}
	if err := p.sameOrigin(r); err != nil {
		refuse(http.StatusForbidden, err.Error())
		return
	}
	if err := p.authorise(r); err != nil {
		refuse(http.StatusForbidden, err.Error())
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "the form cannot be read")
		return
	}
	if !p.ours(r.PostForm.Get("token")) {
		refuse(http.StatusForbidden, "the token is missing or old: load the page again")
		return
	}
	said, back, err := p.act(r.Context(), r.PostForm)
	p.forget()
	if err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	p.suite.Logger().Warn("astra: action of the status page done", "action", r.PostForm.Get("action"), "remote", r.RemoteAddr)
	// Not by http.Redirect: it makes an address of the path, which http.StripPrefix has cut.
	w.Header().Set("Location", back+"said="+url.QueryEscape(said))
	w.WriteHeader(http.StatusSeeOther)
}

// sameOrigin refuses forms that another site's page has sent.
func (p *page) sameOrigin(r *http.Request) error {
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case site != "" && site != "same-origin":
		return errors.New("request comes from another site")
	case site == "" && r.Header.Get("Origin") != "":
		if u, err := url.Parse(r.Header.Get("Origin")); err != nil || u.Host != r.Host {
			return errors.New("request comes from another origin")
		}
	}
	return nil
}

// act does what a form asks for, and returns what to say, and where.
func (p *page) act(ctx context.Context, form url.Values) (said, back string, err error) {
	action, target, method, backend := form.Get("action"), form.Get("target"), form.Get("method"), form.Get("backend")
	back = link(target, method) + "&"
	switch action {
	case "reload":
		if p.reload == nil {
			return "", "", errors.New("reload is not enabled in this program: see statuspage.WithReload")
		}
		return "Policies were read again.", "./?", p.reload(ctx)
	case "release":
		return "The breaker is on its own again; if it was open, the next call is a probe.", back, p.suite.Release(target, method)
	case "return":
		return "The backend is back, and judged anew.", backendLink(target, backend) + "&", p.suite.ReturnBackend(target, backend)
	}
	d, err := time.ParseDuration(form.Get("for"))
	if err != nil {
		return "", "", errors.New("duration is invalid: want the time after which the action is undone, such as 5m")
	}
	switch action {
	case "force_open":
		return "The breaker is held open for " + span(d) + ".", back, p.suite.ForceOpen(target, method, d)
	case "force_close":
		return "The breaker is held closed for " + span(d) + ".", back, p.suite.ForceClose(target, method, d)
	case "drain":
		return "The backend is drained for " + span(d) + ".", backendLink(target, backend) + "&", p.suite.DrainBackend(target, backend, d)
	}
	return "", "", errors.New("action is unknown: want force_open, force_close, release, drain, return or reload")
}
