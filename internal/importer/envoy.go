package importer

import "fmt"

// fromEnvoy reads a RouteConfiguration, a VirtualHost, clusters, or a bootstrap
// that has them (api/envoy/config/route/v3, cluster/v3).
func fromEnvoy(r *reader, doc *object) {
	hosts := doc.list("virtual_hosts")
	if doc.has("routes") {
		hosts = append(hosts, doc)
	}
	static := doc.child("static_resources")
	for _, l := range static.list("listeners") {
		l.skip("name", "address")
		for _, chain := range l.list("filter_chains") {
			for _, f := range chain.list("filters") {
				f.skip("name")
				c := f.child("typed_config")
				c.skip("@type", "stat_prefix", "codec_type", "http_filters")
				route := c.child("route_config")
				route.skip("name")
				hosts = append(hosts, route.list("virtual_hosts")...)
			}
		}
	}
	for _, h := range hosts {
		h.skip("name", "domains")
		var inherited *object
		if h.has("retry_policy") {
			inherited = h.child("retry_policy")
		}
		for _, route := range h.list("routes") {
			r.envoyRoute(route, inherited)
		}
	}
	clusters := append(static.list("clusters"), doc.list("clusters")...)
	if doc.has("outlier_detection") || doc.has("circuit_breakers") {
		clusters = append(clusters, doc)
	}
	for _, c := range clusters {
		r.envoyCluster(c)
	}
}

func (r *reader) envoyRoute(route, inherited *object) {
	route.skip("name")
	match := route.child("match")
	match.skip("grpc")
	path, prefix := match.text("path"), match.text("prefix")
	name, ok := r.nameOf(match.at, path+prefix, path == "")
	if !ok {
		route.skip("route", "redirect", "direct_response")
		return
	}
	action := route.child("route")
	action.skip("cluster")
	policy := inherited
	if action.has("retry_policy") {
		policy = action.child("retry_policy")
	}
	t := retry{timeout: action.duration("timeout")}
	if policy != nil {
		r.envoyRetry(policy, &t)
	}
	if h := action.child("hedge_policy"); h.text("hedge_on_per_try_timeout") == "true" {
		r.note(h.at, "hedge_on_per_try_timeout: an attempt that times out goes on there; here hedge: {maxAttempts, delay} starts another beside it, in place of retries")
	}
	all, own := t.pairs()
	r.add([][2]string{name}, all, own)
}

func (r *reader) envoyRetry(p *object, t *retry) {
	t.codes = r.codesOf(p.at+".retry_on", p.text("retry_on"))
	retries := 1.0 // Envoy's default
	if n, ok := p.number("num_retries"); ok {
		retries = n
	}
	t.attempts = int(retries) + 1
	t.attemptTimeout = p.duration("per_try_timeout")
	if v, ok := p.get("retriable_status_codes"); ok {
		r.note(p.at+".retriable_status_codes", fmt.Sprintf("%v are of HTTP, and left out", v))
	}
	t.base, t.max = "25ms", "250ms" // Envoy's defaults
	if b := p.child("retry_back_off"); len(b.m) > 0 {
		if base := b.duration("base_interval"); base != "" {
			t.base, t.max = base, ""
		}
		if m := b.duration("max_interval"); m != "" {
			t.max = m
		}
	}
	if p.has("retry_host_predicate") || p.has("host_selection_retry_max_attempts") {
		r.note(p.at, "retry_host_predicate: balancing sends retries to other backends by itself, without a predicate")
		p.skip("retry_host_predicate", "host_selection_retry_max_attempts")
	}
}

func (r *reader) envoyCluster(c *object) {
	c.skip("name", "type", "connect_timeout", "load_assignment", "http2_protocol_options", "typed_extension_protocol_options", "dns_lookup_family")
	if policy := c.text("lb_policy"); policy != "" && policy != "ROUND_ROBIN" {
		if policy == "LEAST_REQUEST" {
			r.note(c.at+".lb_policy", "LEAST_REQUEST is like interceptors.Balancing{Policy: \"p2c\"}")
		} else {
			r.note(c.at+".lb_policy", policy+" has no counterpart")
		}
	}
	r.outlier(c.child("outlier_detection"), "consecutive_5xx", "consecutive_gateway_failure")
	for _, t := range c.child("circuit_breakers").list("thresholds") {
		t.skip("priority")
		b := t.child("retry_budget")
		if percent := b.child("budget_percent"); percent.has("value") {
			n, _ := percent.number("value")
			r.budget(n / 100)
			r.note(b.at, "a share of the calls in flight there; here of those that succeeded, as a budget of calls in flight does not bound a server that fails at once")
		}
		b.skip("min_retry_concurrency")
		most, _ := t.number("max_requests")
		queue, _ := t.number("max_pending_requests")
		r.limit(t.at, most, queue)
		if t.has("max_retries") {
			r.note(t.at+".max_retries", "bounds retries in flight: here the budget bounds them by successes")
		}
		if t.has("max_connections") {
			r.note(t.at+".max_connections", "gRPC has one connection for each backend")
		}
	}
}

// budget is that of every entry.
func (r *reader) budget(ratio float64) {
	r.onAll(func(own *[]pair) { set(own, "budget", []pair{{"ratio", ratio}}) })
}

// limit is that of every entry. Here it is each method's; there, the cluster's.
func (r *reader) limit(at string, most, queue float64) {
	if most == 0 {
		return
	}
	r.note(at, "bounds calls in flight of a cluster: here, of each method")
	var l []pair
	set(&l, "maxConcurrent", int(most))
	if queue > 0 {
		set(&l, "maxQueue", int(queue))
		set(&l, "maxWait", "1s")
	}
	r.onAll(func(own *[]pair) { set(own, "limit", l) })
}

// onAll changes what is ours in every entry; without one, it is of all methods.
func (r *reader) onAll(change func(own *[]pair)) {
	if len(r.entries) == 0 {
		r.entries = append(r.entries, &entry{names: [][2]string{{}}})
	}
	for _, e := range r.entries {
		var own []pair
		at := len(e.pairs)
		for i, p := range e.pairs {
			if mine, ok := p.value.([]pair); ok && p.key == "astra" {
				own, at = mine, i
			}
		}
		change(&own)
		e.pairs = append(e.pairs[:at], pair{"astra", own})
	}
}

// outlier reads outlier detection, which is ejection here.
func (r *reader) outlier(o *object, counts ...string) {
	if len(o.m) == 0 {
		return
	}
	var eject []pair
	for _, key := range counts {
		if n, ok := o.number(key); ok && n > 0 && len(eject) == 0 {
			set(&eject, "consecutive", int(n))
		}
	}
	if n, ok := o.number("max_ejection_percent"); ok && n > 0 {
		set(&eject, "maxShare", min(n, 100)/100)
	}
	set(&eject, "openFor", o.duration("base_ejection_time"))
	set(&eject, "maxOpenFor", o.duration("max_ejection_time"))
	if o.duration("interval") != "" {
		r.note(o.at+".interval", "failures are judged as they come")
	}
	for _, p := range r.top {
		if p.key == "balancing" {
			r.note(o.at, "there is one balancing for all targets: that of the first cluster is taken")
			return
		}
	}
	r.top = append(r.top, pair{"balancing", []pair{{"eject", eject}}})
	r.note(o.at, "needs interceptors.WithBalancing in the program")
}
