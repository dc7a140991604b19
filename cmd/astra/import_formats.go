package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// importGRPC takes a service config as it is, and says what only a channel does.
func importGRPC(im *imported, docs []map[string]any) {
	for _, doc := range docs {
		for _, key := range slices.Sorted(maps.Keys(doc)) {
			if !slices.Contains([]string{"methodConfig", "retryThrottling"}, key) {
				im.note(key, "only the channel can honour it; leave it in the service config")
			}
		}
		im.budget = object(doc["retryThrottling"])
		for i, m := range objects(list(doc["methodConfig"])) {
			e := &importedEntry{names: list(m["name"]), body: map[string]any{}}
			for _, key := range slices.Sorted(maps.Keys(m)) {
				switch key {
				case "name":
				case "timeout", "retryPolicy", "hedgingPolicy":
					e.body[key] = m[key]
				default:
					im.note(fmt.Sprintf("methodConfig[%d].%s", i, key), "only the channel can honour it; leave it in the service config")
				}
			}
			if len(e.names) == 0 {
				im.note(fmt.Sprintf("methodConfig[%d]", i), "an entry without a name is for nobody")
				continue
			}
			im.entries = append(im.entries, e)
		}
	}
}

// conditions are those of Envoy's retry_on and x-envoy-retry-grpc-on, and of
// Istio's retryOn, as status codes.
var conditions = map[string]string{
	"cancelled": "CANCELLED", "deadline-exceeded": "DEADLINE_EXCEEDED", "internal": "INTERNAL", "resource-exhausted": "RESOURCE_EXHAUSTED", "unavailable": "UNAVAILABLE",
	"connect-failure": "UNAVAILABLE", "refused-stream": "UNAVAILABLE", "reset": "UNAVAILABLE", "reset-before-request": "UNAVAILABLE",
	"gateway-error": "UNAVAILABLE", "5xx": "UNAVAILABLE", "503": "UNAVAILABLE",
}

func (im *imported) codes(where, on string) (all []any) {
	for c := range strings.FieldsFuncSeq(on, func(r rune) bool { return r == ',' || r == ' ' }) {
		code, ok := conditions[strings.ToLower(c)]
		switch {
		case !ok:
			im.note(where, "%q is a condition of HTTP", c)
		case !slices.Contains(all, any(code)):
			all = append(all, code)
		}
	}
	return all
}

// retry sets a retry by attempts in all, codes and backoff.
func (e *importedEntry) retry(attempts int, codes []any, base, most time.Duration) {
	r := e.astra("retry")
	r["maxAttempts"] = max(attempts, 1)
	if len(codes) > 0 {
		r["codes"] = codes
	}
	b := map[string]any{}
	if base > 0 {
		b["base"] = base.String()
		b["max"] = max(most, base).String()
	}
	if len(b) > 0 {
		r["backoff"] = b
	}
}

// nameOf is what a path of HTTP/2 names.
func nameOf(path string, prefix bool) (name map[string]any, ok bool) {
	service, method, has := strings.Cut(strings.Trim(path, "/"), "/")
	switch {
	case path == "/" || path == "":
		return map[string]any{}, true
	case service == "" || strings.ContainsAny(path, "*[(\\ "):
		return nil, false
	case has && method != "":
		return map[string]any{"service": service, "method": method}, !prefix
	case prefix || !has:
		return map[string]any{"service": service}, true
	}
	return nil, false
}

// importEnvoy takes routes and clusters, wherever they stand.
func importEnvoy(im *imported, docs []map[string]any) {
	var outliers []map[string]any
	for _, doc := range docs {
		for _, v := range everywhere(doc, "routes") {
			for i, route := range objects(list(v)) {
				im.envoyRoute(fmt.Sprintf("routes[%d]", i), route)
			}
		}
		for _, v := range everywhere(doc, "outlier_detection") {
			outliers = append(outliers, object(v))
		}
		for _, v := range everywhere(doc, "circuit_breakers") {
			for _, t := range objects(list(object(v)["thresholds"])) {
				im.envoyThreshold(t)
			}
		}
	}
	for _, o := range outliers {
		im.outlier("outlier_detection", o, map[string]string{"consecutive": "consecutive_5xx", "openFor": "base_ejection_time", "maxOpenFor": "max_ejection_time", "window": "interval", "share": "max_ejection_percent"})
	}
}

func (im *imported) entryFor(name map[string]any, comment string) *importedEntry {
	for _, e := range im.entries {
		if fmt.Sprint(e.names[0]) == fmt.Sprint(name) {
			return e
		}
	}
	e := &importedEntry{names: []any{name}, comment: comment, body: map[string]any{}}
	im.entries = append(im.entries, e)
	return e
}

func (im *imported) envoyRoute(where string, route map[string]any) {
	match, action := object(route["match"]), object(route["route"])
	path, prefix := str(match["path"]), false
	if path == "" {
		path, prefix = str(match["prefix"]), true
	}
	name, ok := nameOf(path, prefix)
	if !ok || match["safe_regex"] != nil || match["path_separated_prefix"] != nil {
		im.note(where+".match", "%v names neither a method, a service nor all", match)
		return
	}
	if match["headers"] != nil {
		im.note(where+".match.headers", "policies are by method only")
	}
	e := im.entryFor(name, where+" of Envoy")
	if d, ok := length(action["timeout"]); ok {
		e.body["timeout"] = protoSeconds(d)
	}
	p := object(action["retry_policy"])
	if p == nil {
		return
	}
	n := 1.0
	if v, ok := number(p["num_retries"]); ok {
		n = v
	}
	back := object(p["retry_back_off"])
	base, _ := length(back["base_interval"])
	most, ok := length(back["max_interval"])
	if !ok {
		most = 10 * base
	}
	e.retry(int(n)+1, im.codes(where+".retry_policy.retry_on", str(p["retry_on"])), base, most)
	if d, ok := length(p["per_try_timeout"]); ok {
		e.astra("")["attemptTimeout"] = d.String()
	}
	known := []string{"retry_on", "num_retries", "retry_back_off", "per_try_timeout"}
	for _, key := range slices.Sorted(maps.Keys(p)) {
		if !slices.Contains(known, key) {
			im.note(where+".retry_policy."+key, "want interceptors.WithBalancing or nothing: astra chooses no hosts in a policy file")
		}
	}
	for _, key := range []string{"hedge_policy", "max_stream_duration", "idle_timeout", "rate_limits", "request_mirror_policies"} {
		if action[key] != nil {
			im.note(where+".route."+key, "is not read")
		}
	}
}

func protoSeconds(d time.Duration) string { return fmt.Sprintf("%gs", d.Seconds()) }

func (im *imported) envoyThreshold(t map[string]any) {
	all := im.everyone()
	for _, key := range slices.Sorted(maps.Keys(t)) {
		n, ok := number(t[key])
		switch {
		case key == "max_requests" && ok:
			all.astra("limit")["maxConcurrent"] = int(n)
		case key == "max_pending_requests" && ok && n > 0 && t["max_requests"] != nil:
			all.astra("limit")["maxQueue"] = int(n)
		case key == "retry_budget":
			b := object(t[key])
			if p, ok := number(object(b["budget_percent"])["value"]); ok && p > 0 {
				all.astra("budget")["ratio"] = p / 100
			}
			if b["min_retry_concurrency"] != nil {
				im.note("circuit_breakers.retry_budget.min_retry_concurrency", "budgets are of rates, not of retries in flight: see budget.burst")
			}
		default:
			im.note("circuit_breakers."+key, "is not read")
		}
	}
}

// everyone is the entry for all methods. What it says holds for no method that
// has an entry of its own, so it is a fault to be silent about it.
func (im *imported) everyone() *importedEntry {
	e := im.entryFor(map[string]any{}, "for all methods that have no entry of their own; entries are not merged")
	const copied = "cluster settings: they stand in the entry for all; copy them into the others, as entries are not merged"
	if len(im.entries) > 1 && !slices.Contains(im.notes, copied) {
		im.notes = append(im.notes, copied)
	}
	return e
}

// outlier takes ejection of hosts as a breaker: it is for all of a target's
// backends together, unless the program balances with astra.
func (im *imported) outlier(where string, o map[string]any, keys map[string]string) {
	b := im.everyone().astra("breaker")
	read := map[string]bool{}
	if n, ok := number(o[keys["consecutive"]]); ok && n > 0 {
		b["consecutive"] = int(n)
	}
	open, ok := length(o[keys["openFor"]])
	if ok {
		b["openFor"] = open.String()
	}
	if d, ok := length(o[keys["maxOpenFor"]]); ok && keys["maxOpenFor"] != "" {
		b["maxOpenFor"] = max(d, open).String()
	} else if open > time.Minute {
		b["maxOpenFor"] = open.String()
	}
	for _, k := range keys {
		read[k] = true
	}
	if _, ok := o[keys["share"]]; ok {
		im.note(where+"."+keys["share"], "give it to interceptors.WithBalancing as Eject.MaxShare")
	}
	if _, ok := o[keys["window"]]; ok {
		im.note(where+"."+keys["window"], "a breaker judges each call as it ends")
	}
	im.note(where, "ejects single hosts; a breaker of a policy is for the target: use interceptors.WithBalancing to eject backends")
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if !read[key] {
			im.note(where+"."+key, "is not read")
		}
	}
}
