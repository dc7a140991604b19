package statuspage

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

const (
	maxRows     = 100 // methods on a page
	maxTroubles = 20
	maxShown    = 40 // calls on a page
)

// view is what a page shows.
type view struct {
	Title, Name string // of the program, of the page: "", "method", "backend", "policies"
	Now         time.Time
	Snap        interceptors.Snapshot
	Live        string // the address of its events
	Tone        string // "ok", "warn", "bad"
	Headline    string
	Detail      string

	Tiles    []tile
	Troubles []trouble
	Rows     []row
	More     int // methods that are not shown
	Query    string
	Calls    []call
	Policies []policyView
	Backends []backendRow

	// Of a method's page:
	Method  *row
	Explain interceptors.Explanation
	// Of a backend's page:
	Backend *backendRow
	Said    string // of an action
	Actions *actions
}

type tile struct{ Name, Value, Note, Tone string }

// trouble is something to look at: since when, why, what now.
type trouble struct {
	Tone, What, Where, Link string
	Since                   time.Time
	Why, Now, Then          string
	Next                    time.Time // between Now and Then, of what comes; zero: nothing is known to
}

type row struct {
	interceptors.MethodSnapshot

	State, Tone, Link, Why string
	Now, Then              string // Until stands between them
	Service, Short         string
}

type policyView struct {
	interceptors.PolicySnapshot

	Text string
}

// view returns what a page shows, and the same for programs; ok is false if there
// is no such page.
func (p *page) view(r *http.Request, name string) (v *view, data any, ok bool) {
	q := r.URL.Query()
	v = &view{Title: p.title, Name: name, Now: time.Now(), Snap: p.snapshot(), Query: q.Get("q"), Said: q.Get("said")}
	v.Live = "live?" + url.Values{"page": {name}, "target": {q.Get("target")}, "method": {q.Get("method")}, "backend": {q.Get("backend")}, "q": {v.Query}}.Encode()
	v.backends()
	p.assess(v)
	switch name {
	case "method":
		return p.methodView(r, v)
	case "backend":
		return p.backendView(r, v)
	case "policies":
		for _, ps := range v.Snap.Policies {
			v.Policies = append(v.Policies, policyView{ps, yamlOf(ps)})
		}
		return v, v.Snap.Policies, true
	}
	v.Actions = p.actions(r)
	v.tiles()
	v.rows()
	v.calls(v.Snap.Calls, true)
	return v, v.Snap, true
}

func (p *page) methodView(r *http.Request, v *view) (*view, any, bool) {
	target, method := r.URL.Query().Get("target"), r.URL.Query().Get("method")
	i := slices.IndexFunc(v.Snap.Methods, func(m interceptors.MethodSnapshot) bool { return m.Target == target && m.Method == method })
	if i < 0 {
		return nil, nil, false
	}
	calls, _ := p.suite.MethodCalls(target, method)
	v.Method = rowOf(v.Snap.Methods[i])
	v.Explain = p.suite.Explain(target, method)
	v.Policies = []policyView{{v.Explain.Policy, yamlOf(v.Explain.Policy)}}
	v.calls(calls, false)
	v.Tone, v.Headline, v.Detail = v.Method.Tone, "Breaker "+v.Method.State, v.Method.Why
	if v.Method.Tone == "ok" && len(calls) > 0 {
		v.Detail = ""
	}
	v.Actions = p.actions(r)
	return v, struct {
		Method  interceptors.MethodSnapshot `json:"method"`
		Explain interceptors.Explanation    `json:"explain"`
		Calls   []interceptors.CallSnapshot `json:"calls"`
	}{v.Snap.Methods[i], v.Explain, calls}, true
}

// YAML is the policies as text.
func (v *view) YAML() string {
	var b strings.Builder
	for _, p := range v.Policies {
		b.WriteString(p.Text)
	}
	return b.String()
}

func link(target, method string) string {
	return "method?" + url.Values{"target": {target}, "method": {method}}.Encode()
}

func rowOf(m interceptors.MethodSnapshot) *row {
	r := &row{MethodSnapshot: m, State: "off", Tone: "off", Link: link(m.Target, m.Method)}
	r.Service, r.Short, _ = strings.Cut(strings.TrimPrefix(m.Method, "/"), "/")
	b := m.Breaker
	if b == nil {
		r.Why = "Its policy has no breaker."
		return r
	}
	r.State, r.Tone = b.State, map[string]string{"open": "bad", "half-open": "warn"}[b.State]
	if r.Tone == "" {
		r.Tone = "ok"
	}
	if b.Why != "" {
		r.Why = strings.ToUpper(b.State[:1]) + b.State[1:] + " because " + breakerWhy[b.Why] + "."
	}
	if b.Cause != "" && b.Cause != b.Why {
		r.Why = "It opened because " + breakerWhy[b.Cause] + ". " + r.Why
	}
	if b.NoConnection {
		r.Why += " There was no connection to the target."
	}
	refuses := "It refuses calls"
	if b.Mode == "observe" && b.Forced == "" {
		refuses = "It only observes, and would refuse calls"
		if r.Tone == "bad" {
			r.Tone = "warn"
		}
	}
	switch {
	case b.Forced == "open":
		r.Tone, r.Now = "warn", "Held open by hand: it refuses calls. That ends"
		r.Then = "; one call is let through to try then."
	case b.Forced == "closed":
		r.Tone, r.Now = "warn", "Held closed by hand: it lets all calls pass. That ends"
		r.Then = "; it counts anew then."
	case b.State == "open":
		r.Now = refuses + ". One is let through to try"
		r.Then = ", or sooner if there are many; if it succeeds, the breaker closes."
	case b.State == "half-open":
		r.Now = "The next call, or one under way, is a probe: if it succeeds the breaker closes, else it opens for longer."
	default:
		r.Now = "It lets calls pass."
	}
	return r
}

// until is when what Now speaks of comes.
func (r *row) Until() time.Time {
	switch b := r.Breaker; {
	case b == nil:
		return time.Time{}
	case b.Forced != "":
		return b.ForcedUntil
	case b.State == "open":
		return b.NextProbe
	}
	return time.Time{}
}

// assess finds what is to be looked at.
func (p *page) assess(v *view) {
	p.breakers(v)
	p.unwell(v)
	v.others()
	slices.SortStableFunc(v.Troubles, func(a, b trouble) int { return strings.Compare(a.Tone, b.Tone) }) // bad, then warn
	open := 0
	for _, t := range v.Snap.Targets {
		open += t.NotClosed
	}
	switch {
	case v.Snap.Closed:
		v.Tone, v.Headline, v.Detail = "warn", "The suite is closed", "Calls are made without breaker and fallback."
	case open > 0:
		v.Tone, v.Headline, v.Detail = "warn", plural(open, "breaker is", "breakers are")+" not closed", "of "+plural(len(v.Snap.Methods), "method", "methods")
		if v.Troubles[0].Tone == "bad" {
			v.Tone = "bad"
		}
	case len(v.Troubles) > 0:
		v.Tone, v.Headline, v.Detail = "warn", "Breakers are closed", plural(len(v.Troubles), "other thing needs", "other things need")+" a look"
	default:
		v.Tone, v.Headline, v.Detail = "ok", "All is well", "Every breaker is closed"
	}
}

// breakers adds those that are not closed, or held.
func (p *page) breakers(v *view) {
	for _, m := range v.Snap.Methods {
		b := m.Breaker
		if b == nil || b.State == "closed" && b.Forced == "" || len(v.Troubles) >= maxTroubles {
			continue
		}
		r := rowOf(m)
		since := b.NotClosedSince
		if since.IsZero() {
			since = b.Since
		}
		v.Troubles = append(v.Troubles, trouble{Tone: r.Tone, What: "Breaker " + b.State, Where: m.Method + " on " + name(m.Target), Link: r.Link, Since: since, Why: r.Why + p.failures(m), Now: r.Now, Then: r.Then, Next: r.Until()})
	}
}

// illShare is the share of calls that do not go well at which somebody is to look.
const illShare = 0.05

// unwell adds methods whose calls do not go well though their breaker is closed.
func (p *page) unwell(v *view) {
	for _, m := range v.Snap.Methods {
		u, b := m.Unwell, m.Breaker
		if u == nil || b != nil && (b.State != "closed" || b.Forced != "") || len(v.Troubles) >= maxTroubles {
			continue
		}
		share := "Calls"
		switch many := u.Count > 12 && float64(u.Count) >= u.Last.Sub(u.Since).Seconds(); {
		case u.Share >= illShare && u.Count >= 12:
			share = fmt.Sprintf("About %.0f %% of the calls", 100*u.Share)
		case b == nil && many: // of how many is not known
		default:
			continue
		}
		v.Troubles = append(v.Troubles, trouble{Tone: "warn", What: "Calls do not go well", Where: m.Method + " on " + name(m.Target), Link: link(m.Target, m.Method), Since: u.Since,
			Why: share + " failed or had to be rescued: " + num(u.Count) + " since then." + p.failures(m),
			Now: "All calls are made, and retried as far as the policy and the budget allow. Look at the target: is it overloaded, or one of its backends ill?"})
	}
}

// failures says how the method's last attempts failed.
func (p *page) failures(m interceptors.MethodSnapshot) string {
	calls, _ := p.suite.MethodCalls(m.Target, m.Method)
	n, codes := map[string]int{}, []string(nil)
	for _, c := range calls {
		for _, a := range c.Trail {
			if a.Code == "OK" {
				continue
			}
			if n[a.Code]++; n[a.Code] == 1 {
				codes = append(codes, a.Code)
			}
		}
	}
	for i, c := range codes {
		codes[i] = fmt.Sprintf("%s × %d", c, n[c])
	}
	if len(codes) == 0 {
		return ""
	}
	return " The last attempts that failed: " + strings.Join(codes, ", ") + "."
}

// others adds backends that are out, empty budgets, faulty policies and stores.
func (v *view) others() {
	add := func(t trouble) {
		t.Tone = "warn"
		v.Troubles = append(v.Troubles, t)
	}
	for i := range v.Backends {
		if b := &v.Backends[i]; b.State != "in" {
			add(trouble{What: "Backend " + b.Words, Where: b.Address + " of " + b.Target, Link: b.Link, Since: b.From, Why: b.Reason, Now: b.Now, Next: b.Until, Then: b.Then})
		}
	}
	for _, t := range v.Snap.Targets {
		for _, b := range t.Budgets {
			if b.Tokens < 1 || !b.EmptySince.IsZero() {
				add(trouble{What: "Retry budget empty", Where: name(t.Target), Since: b.EmptySince,
					Why: "More calls have failed than successes have paid retries for.",
					Now: fmt.Sprintf("Failed calls are not retried, which protects the target: look at that first. A success earns %v of a retry, a second %v.", b.Ratio, b.MinPerSecond)})
			}
		}
	}
	if rev := v.Snap.Revision; rev.Error != "" {
		add(trouble{What: "Policies could not be replaced", Where: fmt.Sprintf("revision %d stays", rev.Generation), Since: rev.ErrorTime, Why: rev.Error,
			Now: "Calls go on under the policies they had. Fix the file: it is read again when it changes."})
	}
	for _, st := range v.Snap.Stores {
		if st.Error != "" {
			add(trouble{What: "Store fails", Where: st.Store + ", " + st.Event, Since: st.FailingSince, Why: st.Error + ". Last tried at " + clock(st.Time) + ".",
				Now: "Calls are not concerned. A restart now would begin with closed breakers and full budgets. Fix what the error says: the store tries again by itself."})
		}
	}
}

func name(target string) string {
	if target == "" {
		return "(no target)"
	}
	return target
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return num(n) + " " + many
}

func (v *view) tiles() {
	s := v.Snap
	var refused, would uint64
	for _, m := range s.Methods {
		if m.Breaker != nil {
			refused, would = refused+m.Breaker.Refused, would+m.Breaker.WouldRefuse
		}
		if m.Limit != nil {
			refused, would = refused+m.Limit.Refused, would+m.Limit.WouldRefuse
		}
	}
	budget := tile{Name: "Lowest budget", Value: "—", Tone: "ok"}
	least := 2.0
	for _, t := range s.Targets {
		for _, b := range t.Budgets {
			if share := b.Tokens / b.Capacity; share < least {
				least = share
				budget.Value, budget.Note = fmt.Sprintf("%.0f %%", 100*share), name(t.Target)
			}
		}
	}
	if least < 0.1 {
		budget.Tone = "warn"
	}
	note := "since the start"
	if would > 0 {
		note = num(would) + " more would have been, were their modes to enforce"
	}
	policies := tile{Name: "Policies", Value: fmt.Sprintf("revision %d", s.Revision.Generation), Note: "since " + clock(s.Revision.Since), Tone: "ok"}
	if s.Revision.Error != "" {
		policies.Tone, policies.Note = "warn", "a later one has faults"
	}
	v.Tiles = []tile{
		{Name: "Methods", Value: num(len(s.Methods)), Note: "on " + plural(len(s.Targets), "target", "targets"), Tone: "ok"},
		{Name: "Calls refused", Value: num(refused), Note: note, Tone: "ok"},
		budget, policies,
	}
}

// rows are the methods that are asked for, those that are not well first.
func (v *view) rows() {
	for _, m := range v.Snap.Methods {
		if v.Query == "" || strings.Contains(strings.ToLower(m.Method+" "+m.Target), strings.ToLower(v.Query)) {
			v.Rows = append(v.Rows, *rowOf(m))
		}
	}
	rank := map[string]int{"bad": 0, "warn": 1, "ok": 2, "off": 3}
	slices.SortStableFunc(v.Rows, func(a, b row) int { return rank[a.Tone] - rank[b.Tone] })
	if len(v.Rows) > maxRows {
		v.More = len(v.Rows) - maxRows
		v.Rows = v.Rows[:maxRows]
	}
}
