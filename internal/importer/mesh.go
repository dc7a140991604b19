package importer

import (
	"regexp"
	"strings"
)

// fromIstio reads a VirtualService or a DestinationRule (networking.istio.io).
func fromIstio(r *reader, doc *object) {
	doc.skip("apiVersion", "metadata")
	spec := doc.child("spec")
	spec.skip("hosts", "host", "gateways", "exportTo")
	switch kind := doc.text("kind"); kind {
	case "VirtualService":
		for _, h := range spec.list("http") {
			r.istioRoute(h)
		}
	case "DestinationRule":
		r.istioTraffic(spec.child("trafficPolicy"))
		for _, s := range spec.list("subsets") {
			s.skip("name", "labels")
			if s.has("trafficPolicy") {
				r.note(s.at+".trafficPolicy", "is of a subset: there is one balancing for all backends")
			}
		}
	default:
		r.note("kind", kind+" is neither a VirtualService nor a DestinationRule")
	}
}

func (r *reader) istioRoute(h *object) {
	h.skip("name", "route")
	var names [][2]string
	matches := h.list("match")
	if len(matches) == 0 {
		names = [][2]string{{}}
	}
	for _, m := range matches {
		m.skip("name")
		uri := m.child("uri")
		exact, prefix := uri.text("exact"), uri.text("prefix")
		if name, ok := r.nameOf(uri.at, exact+prefix, exact == ""); ok {
			names = append(names, name)
		}
	}
	t := retry{timeout: h.duration("timeout")}
	if p := h.child("retries"); len(p.m) > 0 {
		if n, ok := p.number("attempts"); ok {
			t.attempts = int(n) + 1
		} else {
			t.attempts = 3 // Istio's default: two retries
		}
		t.attemptTimeout = p.duration("perTryTimeout")
		on := p.text("retryOn")
		if on == "" {
			on = "connect-failure,refused-stream,unavailable,cancelled" // Istio's default
		}
		t.codes = r.codesOf(p.at+".retryOn", on)
		t.base = p.duration("backoff")
		if t.base == "" {
			t.base = "25ms" // Istio's default
		}
		t.max = "250ms"
		if p.has("retryRemoteLocalities") {
			r.note(p.at+".retryRemoteLocalities", "has no counterpart: retries go to any other backend")
		}
	}
	all, own := t.pairs()
	r.add(names, all, own)
}

func (r *reader) istioTraffic(p *object) {
	lb := p.child("loadBalancer")
	switch simple := lb.text("simple"); simple {
	case "", "ROUND_ROBIN", "UNSPECIFIED":
	case "LEAST_REQUEST", "LEAST_CONN":
		r.note(lb.at+".simple", simple+" is like interceptors.Balancing{Policy: \"p2c\"}")
	default:
		r.note(lb.at+".simple", simple+" has no counterpart")
	}
	r.outlier(p.child("outlierDetection"), "consecutive5xxErrors", "consecutiveGatewayErrors")
	pool := p.child("connectionPool")
	http := pool.child("http")
	most, _ := http.number("http2MaxRequests")
	queue, _ := http.number("http1MaxPendingRequests")
	r.limit(http.at, most, queue)
	if http.has("maxRetries") {
		r.note(http.at+".maxRetries", "bounds retries in flight: here the budget bounds them by successes")
	}
}

// fromLinkerd reads a Service, GRPCRoute or HTTPRoute with annotations, or a
// ServiceProfile (linkerd.io/2/reference/retries, timeouts, circuit-breaking).
func fromLinkerd(r *reader, doc *object) {
	doc.skip("apiVersion")
	spec, meta := doc.child("spec"), doc.child("metadata")
	meta.skip("name", "namespace", "labels")
	a := meta.child("annotations")
	kind := doc.text("kind")
	if kind == "ServiceProfile" {
		r.linkerdProfile(spec)
		return
	}
	spec.skip("parentRefs", "ports", "selector", "type", "clusterIP", "hostnames")
	names := [][2]string{}
	for _, rule := range spec.list("rules") {
		rule.skip("backendRefs", "name")
		for _, m := range rule.list("matches") {
			method := m.child("method")
			method.skip("type")
			names = append(names, [2]string{method.text("service"), method.text("method")})
			if path := m.child("path"); len(path.m) > 0 {
				if name, ok := r.nameOf(path.at, path.text("value"), path.text("type") != "Exact"); ok {
					names[len(names)-1] = name
				}
			}
		}
	}
	if len(names) == 0 {
		names = [][2]string{{}}
	}
	t := retry{timeout: a.duration("timeout.linkerd.io/request"), attemptTimeout: a.duration("retry.linkerd.io/timeout")}
	t.codes = r.codesOf("annotations.retry.linkerd.io/grpc", a.text("retry.linkerd.io/grpc"))
	if http := a.text("retry.linkerd.io/http"); http != "" {
		r.note("annotations.retry.linkerd.io/http", http+" is of HTTP, and left out")
	}
	if len(t.codes) > 0 {
		t.attempts = 2 // one retry, Linkerd's default
		if n, ok := a.number("retry.linkerd.io/limit"); ok {
			t.attempts = int(n) + 1
		}
	}
	if d := a.duration("timeout.linkerd.io/response"); d != "" && t.attemptTimeout == "" {
		t.attemptTimeout = d
	}
	if d := a.duration("timeout.linkerd.io/idle"); d != "" {
		r.note("annotations.timeout.linkerd.io/idle", "has no counterpart: see gRPC's keepalive")
	}
	all, own := t.pairs()
	r.add(names, all, own)
	r.linkerdAccrual(a)
}

// linkerdAccrual reads failure accrual, which is ejection here.
func (r *reader) linkerdAccrual(a *object) {
	const prefix = "balancer.linkerd.io/failure-accrual"
	if a.text(prefix) != "consecutive" {
		return
	}
	n := 7.0 // Linkerd's default
	if given, ok := a.number(prefix + "-consecutive-max-failures"); ok {
		n = given
	}
	eject := []pair{{"consecutive", int(n)}}
	set(&eject, "openFor", a.duration(prefix+"-consecutive-min-penalty"))
	set(&eject, "maxOpenFor", a.duration(prefix+"-consecutive-max-penalty"))
	if a.text(prefix+"-consecutive-jitter-ratio") != "" {
		r.note("annotations."+prefix+"-consecutive-jitter-ratio", "an open time always strays by up to 20 %")
	}
	r.top = append(r.top, pair{"balancing", []pair{{"eject", eject}}})
	r.note("annotations."+prefix, "needs interceptors.WithBalancing in the program")
}

// exactPath is a regular expression that is the name of one method.
var exactPath = regexp.MustCompile(`^\^?/([\w.\\]+)/(\w+)\$?$`)

func (r *reader) linkerdProfile(spec *object) {
	for _, route := range spec.list("routes") {
		route.skip("name")
		c := route.child("condition")
		c.skip("method")
		m := exactPath.FindStringSubmatch(c.text("pathRegex"))
		if m == nil {
			r.note(c.at+".pathRegex", "is not the path of one method: the route is left out")
			route.skip("timeout", "isRetryable")
			continue
		}
		t := retry{timeout: route.duration("timeout")}
		if route.text("isRetryable") == "true" {
			t.codes = []string{"UNAVAILABLE", "INTERNAL", "UNKNOWN"}
			r.note(route.at+".isRetryable", "retries every 5xx, as long as the budget pays: here UNAVAILABLE, INTERNAL and UNKNOWN, up to 3 attempts")
		}
		all, own := t.pairs()
		r.add([][2]string{{strings.ReplaceAll(m[1], `\`, ""), m[2]}}, all, own)
	}
	b := spec.child("retryBudget")
	b.skip("ttl")
	if len(b.m) == 0 {
		return
	}
	var budget []pair
	if n, ok := b.number("retryRatio"); ok {
		set(&budget, "ratio", n)
	}
	if n, ok := b.number("minRetriesPerSecond"); ok {
		set(&budget, "minPerSecond", n)
	}
	r.onAll(func(own *[]pair) { set(own, "budget", budget) })
}
