package importer

import (
	"slices"
	"strings"
)

// fromGRPC reads a service config (service_config.proto in grpc-proto), whose keys
// are a policy file's. What only the channel can honour is left out.
func fromGRPC(r *reader, doc *object) {
	for _, m := range doc.list("methodConfig") {
		e := &entry{}
		for _, n := range m.list("name") {
			e.names = append(e.names, [2]string{n.text("service"), n.text("method")})
		}
		set(&e.pairs, "timeout", m.text("timeout"))
		for _, key := range []string{"retryPolicy", "hedgingPolicy"} {
			if v, ok := m.get(key); ok {
				e.pairs = append(e.pairs, pair{key, inOrder(v)})
			}
		}
		if v, ok := m.get("astra"); ok {
			e.pairs = append(e.pairs, pair{"astra", v})
		}
		r.entries = append(r.entries, e)
	}
	if v, ok := doc.get("retryThrottling"); ok {
		r.top = append(r.top, pair{"retryThrottling", v})
	}
}

// grpcOrder is how people write a retry policy.
var grpcOrder = []string{"maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes", "hedgingDelay", "nonFatalStatusCodes"}

func inOrder(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	var pairs []pair
	for _, key := range grpcOrder {
		if v, ok := m[key]; ok {
			pairs = append(pairs, pair{key, v})
		}
	}
	var others []string
	for key := range m {
		if !slices.Contains(grpcOrder, key) {
			others = append(others, key)
		}
	}
	slices.SortFunc(others, strings.Compare)
	for _, key := range others {
		pairs = append(pairs, pair{key, m[key]})
	}
	return pairs
}
