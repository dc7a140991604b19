package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// status is what a status page says, as far as it is shown.
type status struct {
	Time     time.Time `json:"time"`
	Revision struct {
		Generation uint64 `json:"generation"`
		Error      string `json:"error"`
	} `json:"revision"`
	Methods []statusMethod `json:"methods"`
}

type statusMethod struct {
	Target  string `json:"target"`
	Method  string `json:"method"`
	Pattern string `json:"pattern"`
	Breaker *struct {
		State          string    `json:"state"`
		Why            string    `json:"why"`
		NotClosedSince time.Time `json:"not_closed_since"`
		NextProbe      time.Time `json:"next_probe"`
		Refused        uint64    `json:"refused"`
		Forced         string    `json:"forced"`
	} `json:"breaker"`
	Budget *struct {
		Tokens   float64 `json:"tokens"`
		Capacity float64 `json:"capacity"`
	} `json:"budget"`
	Limit *struct {
		InFlight int `json:"in_flight"`
		Queued   int `json:"queued"`
		Max      int `json:"max"`
	} `json:"limit"`
}

// maxPage is how much of a status page is read.
const maxPage = 64 << 20

// get asks a status page.
func get(ctx context.Context, c *http.Client, page, accept string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	return answer(c, r)
}

// answer returns the body of what a request is answered by.
func answer(c *http.Client, r *http.Request) ([]byte, error) {
	res, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(body[:min(len(body), 300)])))
	}
	return body, err
}

// address returns the URL of "localhost:8080/debug/astra/", say.
func address(s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "", usagef("invalid address %q: want host:port/path of a status page", s)
	}
	return u.String(), nil
}

var topCommand = command{
	name: "top", args: "ADDR", short: "watch the status page of a program in the terminal",
	long: `Top shows what a program's suite is doing: breakers that are not closed first, with
reasons; budgets; limits. ADDR is that of its status page (package statuspage):
host:port/path. It needs no more of the terminal than ANSI. End it with Ctrl-C.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		every := f.Duration("every", time.Second, "`time` between two looks")
		once := f.Bool("once", false, "print once, and end")
		rows := f.Int("rows", 30, "`number` of methods shown")
		return func(s *streams, args []string) error {
			if len(args) != 1 {
				return usagef("want ADDR")
			}
			if *every < 100*time.Millisecond || *rows < 1 {
				return usagef("-every %v, -rows %d: want 100ms or more, 1 or more", *every, *rows)
			}
			page, err := address(args[0])
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
			defer stop()
			return watch(ctx, s, page, *every, *once, *rows)
		}
	},
}

func watch(ctx context.Context, s *streams, page string, every time.Duration, once bool, rows int) error {
	c := &http.Client{Timeout: 10 * time.Second}
	for {
		var now status
		body, err := get(ctx, c, page, "application/json")
		if err == nil {
			err = json.Unmarshal(body, &now)
		}
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was interrupted, which is how it ends
		case err != nil && once:
			return err
		}
		if !once {
			fmt.Fprint(s.out, "\x1b[H\x1b[2J")
		}
		if err != nil {
			fmt.Fprintf(s.out, "%s: %v\n", page, err)
		} else {
			now.write(s, rows)
		}
		if once {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

var states = map[string]int{"open": 0, "half-open": 1, "closed": 2}

func (st *status) write(s *streams, rows int) {
	fmt.Fprintf(s.out, "%s  revision %d  %d methods\n", st.Time.UTC().Format(time.TimeOnly), st.Revision.Generation, len(st.Methods))
	if st.Revision.Error != "" {
		fmt.Fprintf(s.out, "last reload failed: %s\n", printable(st.Revision.Error))
	}
	fmt.Fprintf(s.out, "\n%-44s %-20s %-10s %-9s %-11s %-10s %s\n", "method", "target", "breaker", "refused", "budget", "in flight", "why")
	slices.SortStableFunc(st.Methods, func(a, b statusMethod) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Method, b.Method), strings.Compare(a.Target, b.Target))
	})
	for i, m := range st.Methods {
		if i == rows {
			fmt.Fprintf(s.out, "… and %d more\n", len(st.Methods)-rows)
			return
		}
		m.write(s, st.Time)
	}
}

// rank puts breakers that are not closed first.
func (m *statusMethod) rank() int {
	if m.Breaker == nil {
		return len(states)
	}
	return states[m.Breaker.State]
}

func (m *statusMethod) write(s *streams, now time.Time) {
	state, refused, budget, flight, why := "–", "", "–", "–", ""
	if b := m.Breaker; b != nil {
		state, refused, why = b.State, fmt.Sprint(b.Refused), b.Why
		if !b.NotClosedSince.IsZero() {
			why += fmt.Sprintf(", for %v", now.Sub(b.NotClosedSince).Round(time.Second))
		}
		if b.Forced != "" {
			why = "held " + b.Forced
		}
	}
	if b := m.Budget; b != nil {
		budget = fmt.Sprintf("%.0f/%.0f", b.Tokens, b.Capacity)
	}
	if l := m.Limit; l != nil {
		flight = fmt.Sprintf("%d/%d +%d", l.InFlight, l.Max, l.Queued)
	}
	line := fmt.Sprintf("%-44s %-20s %-10s %-9s %-11s %-10s %s", printable(m.Method), printable(m.Target), printable(state), refused, budget, flight, printable(why))
	if s.color && m.rank() < 2 {
		line = fmt.Sprintf("\x1b[%dm%s\x1b[0m", 31+2*m.rank(), line)
	}
	fmt.Fprintln(s.out, strings.TrimRight(line, " "))
}

// printable leaves nothing that would steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

var breakerCommand = command{
	name: "breaker", args: "open|close|release ADDR TARGET METHOD", short: "hold a breaker open or closed in a program that runs",
	long: `Breaker uses an action of a program's status page, if the program offers actions:
open and close hold the breaker of a method of a target for a time, release lets
it be on its own again. The page logs who did it.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		length := f.Duration("for", 5*time.Minute, "`time` after which it is undone")
		return func(s *streams, args []string) error {
			if len(args) != 4 {
				return usagef("want open, close or release, ADDR, TARGET and METHOD")
			}
			action, ok := map[string]string{"open": "force_open", "close": "force_close", "release": "release"}[args[0]]
			if !ok {
				return usagef("%q: want open, close or release", args[0])
			}
			page, err := address(args[1])
			if err != nil {
				return err
			}
			method, err := methodName(args[3])
			if err != nil {
				return err
			}
			return steer(s, page, url.Values{"action": {action}, "target": {args[2]}, "method": {method}}, *length)
		}
	},
}

var backendCommand = command{
	name: "backend", args: "drain|return ADDR TARGET BACKEND", short: "drain a backend, or bring it back, in a program that runs",
	long: `Backend uses an action of a program's status page, if the program offers actions:
drain keeps new attempts away from a backend of a target for a time, as long as
there is another; return brings back one that is drained or ejected. The page logs
who did it.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		length := f.Duration("for", 5*time.Minute, "`time` after which a drain is undone")
		return func(s *streams, args []string) error {
			if len(args) != 4 || args[0] != "drain" && args[0] != "return" {
				return usagef("want drain or return, ADDR, TARGET and BACKEND")
			}
			page, err := address(args[1])
			if err != nil {
				return err
			}
			return steer(s, page, url.Values{"action": {args[0]}, "target": {args[2]}, "backend": {args[3]}}, *length)
		}
	},
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// steer sends a page's form, for an action that lasts so long, with the token that the
// page has in it.
func steer(s *streams, page string, form url.Values, length time.Duration) error {
	if length < time.Millisecond || length > 24*time.Hour {
		return usagef("-for %v: want 1ms to 24h", length)
	}
	form.Set("for", length.String())
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	ctx, c := context.Background(), &http.Client{Timeout: 10 * time.Second, Jar: jar}
	at, err := url.Parse(page)
	if err != nil {
		return err
	}
	at.RawQuery = ""
	of := "method"
	if form.Has("backend") {
		of = "backend"
	}
	look := at.JoinPath(of)
	look.RawQuery = url.Values{"target": form["target"], of: form[of]}.Encode()
	body, err := get(ctx, c, look.String(), "text/html")
	if err != nil {
		return err
	}
	token := formToken.FindSubmatch(body)
	if token == nil {
		return fmt.Errorf("%s offers no actions for this %s of this target", page, of)
	}
	form.Set("token", string(token[1]))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.JoinPath("steer").String(), strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := answer(c, r); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %s of %s\n", form.Get("action"), form.Get(of), form.Get("target"))
	return nil
}
