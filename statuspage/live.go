package statuspage

import (
	"net/http"
	"regexp"
	"strings"
	"time"
)

const (
	beat      = 15 * time.Second // between signs of life, at most
	longest   = 10 * time.Minute // then the browser asks again
	patience  = 10 * time.Second // with a browser that does not read
	reconnect = "retry: 2000\n\n"
)

// live sends what a page shows as it changes, by server-sent events, until the
// client goes, the suite is closed, or for some minutes. It runs on the request's
// goroutine.
func (p *page) live(w http.ResponseWriter, r *http.Request) {
	if p.viewers.Add(1) > p.maxViewers {
		p.viewers.Add(-1)
		w.Header().Set("Retry-After", "30")
		http.Error(w, "503: too many pages are open: close one, or reload later", http.StatusServiceUnavailable)
		return
	}
	defer p.viewers.Add(-1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	c := http.NewResponseController(w)
	send := func(text string) bool {
		_ = c.SetWriteDeadline(time.Now().Add(patience)) // where it can be had
		if _, err := w.Write([]byte(text)); err != nil {
			return false
		}
		return c.Flush() == nil
	}
	if !send(reconnect) {
		return
	}
	tick, end := time.NewTicker(p.every), time.NewTimer(longest)
	defer tick.Stop()
	defer end.Stop()
	before, sent := "", time.Now()
	for {
		v, _, ok := p.view(r, r.URL.Query().Get("page"))
		if !ok {
			return
		}
		switch text := liveText(v); {
		case text != before:
			if !send(event(text)) {
				return
			}
			before, sent = text, time.Now()
		case time.Since(sent) >= beat:
			if !send(": alive\n\n") {
				return
			}
			sent = time.Now()
		}
		if v.Snap.Closed {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// liveText is the part of a page that changes.
func liveText(v *view) string {
	text, err := render("live", v)
	if err != nil {
		return ""
	}
	return relative.ReplaceAllString(string(text), "$1$2")
}

// relative is how long ago something was, which changes with each second: the
// browser says it itself.
var relative = regexp.MustCompile(`(<time [^>]*>)[^<]*(</time>)`)

// lines begins each line of an event's data. A carriage return, which a method's
// name may have, ends a line, too.
var lines = strings.NewReplacer("\n", "\ndata: ", "\r", " ")

func event(text string) string {
	return "event: page\ndata: " + lines.Replace(strings.TrimSpace(text)) + "\n\n"
}
