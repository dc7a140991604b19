package config

import (
	"fmt"
	"math"
	"reflect"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
)

// entry is a policy of the document and where its fields were written.
type entry struct {
	*reader
	policy   interceptors.Policy
	origins  map[string]value // by the field's path: "Retry.MaxAttempts"
	broken   []string         // paths of fields whose values have faults
	patterns []string
}

func (r *reader) entry(rec *record, throttle *record) *entry {
	e := &entry{reader: r, origins: map[string]value{"": {key: rec.position, node: rec.node, at: rec.at}}}
	if from, ok := rec.values["timeout"]; ok {
		e.put("Timeout", from.v, from)
	}
	retry, _, _ := get[*record](rec, "retryPolicy")
	hedge, _, _ := get[*record](rec, "hedgingPolicy")
	own, ownAt, _ := get[*record](rec, "astra")
	if rec.has("retryPolicy") && rec.has("hedgingPolicy") {
		at := rec.values["hedgingPolicy"]
		r.faults.addTo(ruleRetryAndHedge, at.key, at.at, "", "conflicts with retryPolicy: remove one of them, as a call is either retried or hedged (gRFC A6)")
		hedge = nil
	}
	if retry != nil {
		e.retry(retry)
	}
	if hedge != nil {
		e.hedge(hedge)
	}
	if own != nil {
		e.origins["astra"] = ownAt
		e.own(own, policyShape(), "")
	}
	// As in gRPC, calls are retried only if the entry says so.
	if !rec.has("retryPolicy") && !own.has("retry") && e.policy.Hedge.MaxAttempts <= 1 {
		e.policy.Retry.MaxAttempts = 1
	} else if reflect.ValueOf(e.policy.Retry).IsZero() && own.has("retry") {
		e.policy.Retry.Repeat = interceptors.RepeatAny // to write "retry: {}" is to ask for retries
	}
	e.throttle(throttle)
	e.validate()
	return e
}

// put sets a field of the policy, unless another key has.
func (e *entry) put(field string, v any, from value) {
	if before, twice := e.origins[field]; twice {
		e.faults.addTo(ruleSaidTwice, from.key, from.at, from.written(), fmt.Sprintf("sets the same field as %v in line %d: remove one of them", before.at, before.key.line))
		return
	}
	e.origins[field] = from
	if !from.ok {
		e.broken = append(e.broken, field)
		return
	}
	target := fieldAt(&e.policy, field)
	target.Set(reflect.ValueOf(v).Convert(target.Type()))
}

// retry takes a retryPolicy. A6's jitter of ±20 % is not ours: the backoff has
// the default strategy, ±50 %, unless astra.retry.backoff.jitter names another.
// Both are spread evenly around the schedule, so the mean is the same.
func (e *entry) retry(p *record) {
	e.origins["Retry"] = value{key: p.position, node: p.node, at: p.at}
	e.attempts("Retry.MaxAttempts", p, maxRetryAttempts)
	initial, from, _ := get[time.Duration](p, "initialBackoff")
	longest, maxFrom, ok := get[time.Duration](p, "maxBackoff")
	if ok {
		initial = min(initial, longest) // A6 allows a longer one, and cuts it
	}
	e.need("Retry.Backoff.Base", initial, from)
	e.need("Retry.Backoff.Max", longest, maxFrom)
	multiplier, from, ok := get[float64](p, "backoffMultiplier")
	if ok && multiplier < 1 {
		e.warn("cut-value", from.place(), from.at, from.written(), "is raised to 1: shrinking delays are not supported")
		multiplier = 1
	}
	e.need("Retry.Backoff.Multiplier", multiplier, from)
	set, from, _ := get[astracodes.Set](p, "retryableStatusCodes")
	e.need("Retry.Codes", set, from)
}

// need puts what a policy must have; if it has not, that has been reported.
func (e *entry) need(field string, v any, from value) {
	if from.node == nil {
		e.broken = append(e.broken, field)
		return
	}
	e.put(field, v, from)
}

// attempts takes maxAttempts up to our own limit. A6 has clients do so, with a
// limit of 5, instead of rejecting the document.
func (e *entry) attempts(field string, p *record, most int) {
	n, from, ok := get[int](p, "maxAttempts")
	if ok && n > most {
		e.warn("cut-value", from.place(), from.at, from.written(), fmt.Sprintf("is reduced to %d, the maximum", most))
		n = most
	}
	e.need(field, n, from)
}

// hedge takes a hedgingPolicy. Its zeros are not ours: no delay starts all
// attempts at once, which is a delay of a nanosecond here, and without
// non-fatal codes all are fatal.
func (e *entry) hedge(p *record) {
	e.origins["Hedge"] = value{key: p.position, node: p.node, at: p.at}
	e.attempts("Hedge.MaxAttempts", p, maxHedgeAttempts)
	e.policy.Hedge.Delay = time.Nanosecond
	if delay, from, _ := get[time.Duration](p, "hedgingDelay"); from.node != nil {
		e.put("Hedge.Delay", max(delay, time.Nanosecond), from)
	}
	e.policy.Hedge.NonFatal = astracodes.Of(codes.OK)
	if set, from, _ := get[astracodes.Set](p, "nonFatalStatusCodes"); from.node != nil {
		e.put("Hedge.NonFatal", set, from)
	}
}

// throttle makes the document's retryThrottling the budget of an entry, as far
// as that has not said otherwise. A6 has a client retry while more than half of
// its tokens are left, and lets successes earn tokenRatio: so half of maxTokens
// is what can be spent in a row, our burst.
func (e *entry) throttle(p *record) {
	if _, own := e.origins["Budget.Ratio"]; !own {
		if ratio, from, ok := get[float64](p, "tokenRatio"); ok {
			e.put("Budget.Ratio", min(cut(ratio), maxRatio), from)
		}
	}
	if _, own := e.origins["Budget.Burst"]; !own {
		if tokens, from, ok := get[float64](p, "maxTokens"); ok {
			e.put("Budget.Burst", max(tokens/2, 1), from)
		}
	}
}

// cut leaves three decimals, as A6 does.
func cut(ratio float64) float64 { return math.Floor(ratio*1000+1e-6) / 1000 }

// own takes an astra object, or one in it.
func (e *entry) own(rec *record, s *objectShape, prefix string) {
	for _, f := range s.fields {
		from, has := rec.values[f.key]
		if !has {
			continue
		}
		field := prefix + f.member
		switch v := from.v.(type) {
		case *record:
			if _, has := e.origins[field]; !has {
				e.origins[field] = from
			}
			e.own(v, f.shape.(*objectShape), field+".")
		case []value: // of perCode
			e.perCode(field, v, f.shape.(perCode).item, from)
		default:
			e.put(field, from.v, from)
		}
	}
}

// perCode takes a table of structs by status code.
func (e *entry) perCode(field string, values []value, item shape, from value) {
	of := fieldAt(&e.policy, field).Type()
	table := reflect.MakeMap(of)
	for _, each := range values {
		v := each.v.(codeAnd)
		path := fmt.Sprintf("%s[%s]", field, astracodes.Name(v.code))
		e.origins[path] = each
		rec, ok := v.v.(*record)
		if !ok {
			continue // no object, which has been reported
		}
		s := item.(*objectShape)
		for _, f := range s.fields {
			if inner, has := rec.values[f.key]; has {
				e.origins[path+"."+f.member] = inner
				if !inner.ok {
					e.broken = append(e.broken, path+"."+f.member)
				}
			}
		}
		table.SetMapIndex(reflect.ValueOf(v.code), structOf(of.Elem(), s, rec))
	}
	e.put(field, table.Interface(), from)
}
