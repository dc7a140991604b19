package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// importIstio takes VirtualServices and DestinationRules.
func importIstio(im *imported, docs []map[string]any) {
	for _, doc := range docs {
		name := str(object(doc["metadata"])["name"])
		switch str(doc["kind"]) {
		case "VirtualService":
			for i, http := range objects(list(object(doc["spec"])["http"])) {
				im.istioRoute(fmt.Sprintf("VirtualService %s http[%d]", name, i), http)
			}
		case "DestinationRule":
			im.istioRule("DestinationRule "+name, object(doc["spec"]))
		default:
			im.note(str(doc["kind"])+" "+name, "is not read")
		}
	}
}

func (im *imported) istioRoute(where string, http map[string]any) {
	matches := objects(list(http["match"]))
	if len(matches) == 0 {
		matches = []map[string]any{{}}
	}
	for _, key := range []string{"fault", "mirror", "rewrite", "headers"} {
		if http[key] != nil {
			im.note(where+"."+key, "is not read")
		}
	}
	for _, m := range matches {
		uri := object(m["uri"])
		path, prefix := str(uri["exact"]), false
		if path == "" {
			path, prefix = str(uri["prefix"]), true
		}
		name, ok := nameOf(path, prefix)
		if !ok || uri["regex"] != nil {
			im.note(where+".match.uri", "%v names neither a method, a service nor all", uri)
			continue
		}
		if m["headers"] != nil {
			im.note(where+".match.headers", "policies are by method only")
		}
		im.istioEntry(where, im.entryFor(name, where), http)
	}
}

func (im *imported) istioEntry(where string, e *importedEntry, http map[string]any) {
	if d, ok := length(http["timeout"]); ok {
		e.body["timeout"] = protoSeconds(d)
	}
	r := object(http["retries"])
	if r == nil {
		return
	}
	n, ok := number(r["attempts"])
	if !ok {
		n = 2
	}
	base, _ := length(r["backoff"])
	e.retry(int(n)+1, im.codes(where+".retries.retryOn", str(r["retryOn"])), base, 10*base)
	if d, ok := length(r["perTryTimeout"]); ok && n > 0 {
		e.astra("")["attemptTimeout"] = d.String()
	}
	for _, key := range slices.Sorted(maps.Keys(r)) {
		if !slices.Contains([]string{"attempts", "retryOn", "perTryTimeout", "backoff"}, key) {
			im.note(where+".retries."+key, "is not read")
		}
	}
}

func (im *imported) istioRule(where string, spec map[string]any) {
	policy := object(spec["trafficPolicy"])
	for _, key := range slices.Sorted(maps.Keys(policy)) {
		switch key {
		case "outlierDetection":
			o := object(policy[key])
			consecutive := "consecutive5xxErrors"
			if o["consecutiveGatewayErrors"] != nil {
				consecutive = "consecutiveGatewayErrors"
			}
			im.outlier(where+".outlierDetection", o, map[string]string{"consecutive": consecutive, "openFor": "baseEjectionTime", "window": "interval", "share": "maxEjectionPercent"})
		case "connectionPool":
			im.istioPool(where+".connectionPool", object(policy[key]))
		default:
			im.note(where+"."+key, "is the channel's: load balancing, TLS and ports are no policy")
		}
	}
	if spec["subsets"] != nil {
		im.note(where+".subsets", "a target is one: give subsets targets of their own")
	}
}

func (im *imported) istioPool(where string, pool map[string]any) {
	http := object(pool["http"])
	for _, key := range slices.Sorted(maps.Keys(http)) {
		n, ok := number(http[key])
		switch {
		case key == "http2MaxRequests" && ok:
			im.everyone().astra("limit")["maxConcurrent"] = int(n)
		case key == "http1MaxPendingRequests" && ok && n > 0 && http["http2MaxRequests"] != nil:
			im.everyone().astra("limit")["maxQueue"] = int(n)
		default:
			im.note(where+".http."+key, "is not read")
		}
	}
	if pool["tcp"] != nil {
		im.note(where+".tcp", "is the channel's")
	}
}

// importLinkerd takes the annotations of Services.
func importLinkerd(im *imported, docs []map[string]any) {
	for _, doc := range docs {
		where := str(doc["kind"]) + " " + str(object(doc["metadata"])["name"])
		notes := object(doc["metadata"], "annotations")
		if len(notes) == 0 {
			im.note(where, "has no annotations")
			continue
		}
		e := im.entryFor(map[string]any{}, where)
		im.linkerd(where, e, notes)
	}
}

func (im *imported) linkerd(where string, e *importedEntry, notes map[string]any) {
	retries, codes := 0, []any(nil)
	for _, key := range slices.Sorted(maps.Keys(notes)) {
		value := str(notes[key])
		d, isLength := length(value)
		n, isNumber := number(value)
		switch {
		case key == "retry.linkerd.io/grpc":
			codes = im.codes(where+" "+key, value)
			retries = max(retries, 1)
		case key == "retry.linkerd.io/limit" && isNumber:
			retries = int(n)
		case key == "retry.linkerd.io/timeout" && isLength:
			e.astra("")["attemptTimeout"] = d.String()
		case key == "timeout.linkerd.io/request" && isLength:
			e.body["timeout"] = protoSeconds(d)
		case key == "balancer.linkerd.io/failure-accrual" && value == "consecutive":
			b := e.astra("breaker")
			b["consecutive"], b["openFor"], b["maxOpenFor"] = 7, "1s", "1m0s" // Linkerd's own defaults
		case key == "balancer.linkerd.io/failure-accrual-consecutive-max-failures" && isNumber:
			e.astra("breaker")["consecutive"] = int(n)
		case key == "balancer.linkerd.io/failure-accrual-consecutive-min-penalty" && isLength:
			e.astra("breaker")["openFor"] = d.String()
		case key == "balancer.linkerd.io/failure-accrual-consecutive-max-penalty" && isLength:
			e.astra("breaker")["maxOpenFor"] = d.String()
		case strings.Contains(key, "linkerd.io/"):
			im.note(where+" "+key, "%q is not read", value)
		}
	}
	if retries > 0 {
		e.retry(retries+1, codes, 0, time.Duration(0))
	}
	if e.body["astra"] != nil && e.astra("")["breaker"] != nil {
		im.note(where+" balancer.linkerd.io", "accrues failures of single endpoints; a breaker of a policy is for the target: use interceptors.WithBalancing for backends")
	}
}
