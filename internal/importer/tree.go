package importer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is an object of the source. What of it is not asked for has no
// counterpart, and is noted.
type object struct {
	at   string // its path
	m    map[string]any
	used map[string]bool
	from *reader
}

func (r *reader) object(at string, v any) *object {
	m, _ := v.(map[string]any)
	o := &object{at: at, m: m, used: map[string]bool{}, from: r}
	r.objects = append(r.objects, o)
	return o
}

// has reports whether there is any of the keys; Envoy's may be in two spellings.
func (o *object) has(key string) bool { _, ok := o.get(key); return ok }

// get returns the value of a key, as snake_case or lowerCamelCase.
func (o *object) get(key string) (any, bool) {
	for _, k := range []string{key, camel(key)} {
		if v, ok := o.m[k]; ok && v != nil {
			o.used[k] = true
			return v, true
		}
	}
	return nil, false
}

// child returns an object within; an empty one if there is none.
func (o *object) child(key string) *object {
	v, _ := o.get(key)
	return o.from.object(o.at+"."+key, v)
}

// list returns the objects of a list within.
func (o *object) list(key string) (all []*object) {
	v, _ := o.get(key)
	items, _ := v.([]any)
	for i, item := range items {
		all = append(all, o.from.object(fmt.Sprintf("%s.%s[%d]", o.at, key, i), item))
	}
	return all
}

// text returns a scalar as text; "" if there is none.
func (o *object) text(key string) string {
	switch v, _ := o.get(key); v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any, []any:
		o.from.note(o.at+"."+key, "is not a value of one word")
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// number returns a number; ok is false if there is none.
func (o *object) number(key string) (n float64, ok bool) {
	t := o.text(key)
	if t == "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(t, 64)
	if err != nil {
		o.from.note(o.at+"."+key, fmt.Sprintf("%q is not a number", t))
		return 0, false
	}
	return n, true
}

// duration returns a duration as a policy file has it; "" if there is none.
func (o *object) duration(key string) string {
	t := o.text(key)
	if t == "" {
		return ""
	}
	d, err := time.ParseDuration(t)
	if err != nil {
		o.from.note(o.at+"."+key, fmt.Sprintf("%q is not a duration", t))
		return ""
	}
	if d <= 0 {
		return ""
	}
	return d.String()
}

// skip marks keys that are known to say nothing of how calls fare.
func (o *object) skip(keys ...string) {
	for _, k := range keys {
		o.get(k)
	}
}

// unused returns the paths of what was not asked for.
func (o *object) unused() (all []string) {
	for _, k := range slices.Sorted(maps.Keys(o.m)) {
		if !o.used[k] {
			all = append(all, strings.TrimPrefix(o.at+"."+k, "."))
		}
	}
	return all
}

func camel(s string) string {
	parts := strings.Split(s, "_")
	for i, p := range parts[1:] {
		if p != "" {
			parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}
