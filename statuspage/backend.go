package statuspage

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// backendRow is a backend, and what to say of it.
type backendRow struct {
	interceptors.BackendSnapshot

	Words, Tone, Link, Reason string
	Now, Then                 string
	From                      time.Time // since when it is not in, or is as it is
	Until                     time.Time // between Now and Then, of what comes; zero: nothing is known to
}

func backendLink(target, address string) string {
	return "backend?" + url.Values{"target": {target}, "backend": {address}}.Encode()
}

// backends says of each what there is to say.
func (v *view) backends() {
	for _, b := range v.Snap.Backends {
		r := backendRow{BackendSnapshot: b, Words: strings.ReplaceAll(b.State, "_", " "), Link: backendLink(b.Target, b.Address)}
		r.Tone = map[string]string{"in": "ok", "out": "bad"}[b.State]
		if r.Tone == "" || b.Forced != "" || b.Mode == "observe" && b.State != "in" {
			r.Tone = "warn"
		}
		if b.Forced != "" {
			r.Words = "drained"
		}
		if r.From = b.NotInSince; r.From.IsZero() {
			r.From = b.Since
		}
		switch {
		case b.Cause != "" && b.Forced == "":
			r.Reason = fmt.Sprintf("It was ejected because %s. It failed %s attempts in all.", breakerWhy[b.Cause], num(b.Failed))
		case b.Why != "":
			r.Reason = "Because " + breakerWhy[b.Why] + "."
		}
		r.now()
		v.Backends = append(v.Backends, r)
	}
}

// now says what happens to it, and what is next.
func (r *backendRow) now() {
	switch {
	case r.Forced != "" && !r.Believed:
		r.Now, r.Until, r.Then = "Drained by hand, but no other is in, so it gets calls. That ends", r.ForcedUntil, "."
	case r.Forced != "":
		r.Now, r.Until, r.Then = "Drained by hand: it gets no new attempts. That ends", r.ForcedUntil, "."
	case r.State == "in":
		r.Now = "It gets its share of the calls."
	case !r.Believed:
		r.Now = "So many of the target's are out that none is believed to be: all get calls."
	case r.Mode == "observe":
		r.Now = "Ejections only observe: it gets its calls all the same."
	case r.NextProbe.IsZero():
		r.Now = "Others get its calls. It is being tried."
	default:
		r.Now, r.Until, r.Then = "Others get its calls. It is tried", r.NextProbe, ", or sooner if there are many."
	}
}

// backendView is the page of a backend.
func (p *page) backendView(r *http.Request, v *view) (*view, any, bool) {
	q := r.URL.Query()
	for i := range v.Backends {
		b := &v.Backends[i]
		if b.Target != q.Get("target") || b.Address != q.Get("backend") {
			continue
		}
		v.Backend = b
		v.Tone, v.Headline, v.Detail = b.Tone, "Backend "+b.Words, ""
		v.Actions = p.actions(r)
		return v, b.BackendSnapshot, true
	}
	return v, nil, false
}
