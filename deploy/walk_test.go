package deploy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/state"
)

// A walk is the way from an alert to its cause. Five minutes go well, then something
// fails for ten; nine minutes later somebody asks what fails, since when, why, and what
// now, and has one source alone: the status page, the metrics, or the log.
// docs/on-call.md has what they are to find there, and is checked against it.
const (
	goodFor = 5 * time.Minute
	lookAt  = 9 * time.Minute // after the fault began
	illFor  = 10 * time.Minute
	firesBy = 14 // minutes after the start
	overBy  = 24
)

// walk is a cause, and where the sources say since when it is.
type walk struct {
	policy  interceptors.Policy
	options []interceptors.Option
	servers int // 0: one
	fault   func(w *walked)

	card   string        // begins the title of the page's
	gauge  string        // holds the time or, if its name does not say so, rises then
	record string        // the log's first, a part of it
	over   string        // what the log has when it is over
	within time.Duration // of the fault's beginning they all say
	alerts map[string]annotated
}

// annotated is what an alert says: its labels, and its annotations but for the
// runbook. Nil annotations are not compared.
type annotated struct {
	labels  map[string]string
	summary string
	text    func(w *walked) string // the description
}

const shop = "walk:///shop"

func pairLabels(severity string) map[string]string {
	return map[string]string{"severity": severity, "job": "shop", "function": method, "target": shop}
}

func instanceLabels() map[string]string {
	return map[string]string{"severity": "warning", "job": "shop", "instance": "i"}
}

// breakerOpens is the alert of an open breaker, with the time that the gauge has.
var breakerOpens = map[string]annotated{"AstraBreakerOpen": {
	labels:  pairLabels("critical"),
	summary: method + " of " + shop + " is cut off: 1 instance(s) have an open breaker",
	text: func(w *walked) string {
		return fmt.Sprintf("Open since %s. Calls are refused until a probe succeeds.", w.stampOf("astra_breaker_open_since_seconds{"))
	},
}}

var walks = map[string]walk{
	"A server fails": {
		fault:  func(w *walked) { w.servers[0].SetDown(flakyserver.Fail(codes.Unavailable, "down")) },
		card:   "Breaker",
		gauge:  "astra_breaker_open_since_seconds{",
		record: `"msg":"breaker opened"`,
		over:   `"msg":"breaker closed`,
		within: 10 * time.Second,
		alerts: breakerOpens,
	},
	"A server hangs": {
		fault:  func(w *walked) { w.servers[0].SetDown(flakyserver.Hang()) },
		card:   "Breaker",
		gauge:  "astra_breaker_open_since_seconds{",
		record: `"msg":"breaker opened"`,
		over:   `"msg":"breaker closed`,
		within: 10 * time.Second,
		alerts: map[string]annotated{"AstraBreakerOpen": breakerOpens["AstraBreakerOpen"], "AstraAttemptsTimeOut": {}},
	},
	"A server is slow": {
		policy: interceptors.Policy{Retry: asking, AttemptTimeout: 200 * time.Millisecond, Budget: interceptors.Budget{Ratio: 1}},
		fault: func(w *walked) {
			w.servers[0].Random(flakyserver.Any, 1, flakyserver.Mix{Rate: 0.3, Steps: []flakyserver.Step{flakyserver.OK().After(time.Second)}})
		},
		card:   "Calls do not go well",
		gauge:  `astra_retry_attempts_total{function="/shop.Cart/Add",grpc_code="DeadlineExceeded",`,
		record: `"rescued_from":"DEADLINE_EXCEEDED"`,
		within: time.Minute,
		alerts: map[string]annotated{"AstraAttemptsTimeOut": {}},
	},
	"One backend is bad": {
		options: []interceptors.Option{interceptors.WithBalancing(interceptors.Balancing{})},
		servers: 3,
		fault:   func(w *walked) { w.servers[1].SetDown(flakyserver.Fail(codes.Unavailable, "no space left")) },
		card:    "Backend",
		gauge:   `astra_backend_state{backend="10.0.0.2:80",`,
		record:  `"msg":"backend ejected"`,
		over:    `"msg":"backend back in use`,
		within:  20 * time.Second,
		alerts: map[string]annotated{"AstraBackendEjected": {
			labels:  map[string]string{"severity": "warning", "job": "shop", "target": shop, "backend": "10.0.0.2:80"},
			summary: "Backend 10.0.0.2:80 of " + shop + " is ejected",
			text: func(*walked) string {
				return "It gets no calls but probes, and comes back by itself. Look at that backend alone."
			},
		}},
	},
	"A budget is empty": {
		policy: interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}},
		fault:  func(w *walked) { w.servers[0].SetDown(flakyserver.Fail(codes.Unavailable, "down")) },
		card:   "Retry budget empty",
		gauge:  "astra_retry_budget_empty_since_seconds{",
		record: `"msg":"retry budget empty`,
		over:   `"msg":"retry budget recovered`,
		within: time.Minute,
		alerts: map[string]annotated{"AstraBudgetEmpty": {
			labels:  map[string]string{"severity": "warning", "job": "shop", "target": shop},
			summary: "The retry budget of " + shop + " is empty: failures are not retried",
			text: func(w *walked) string {
				return fmt.Sprintf("Empty since %s. That protects the target: look at what fails there.", w.stampOf("astra_retry_budget_empty_since_seconds{"))
			},
		}},
	},
	"A policy file is faulty": {
		card:   "Policies could not be replaced",
		gauge:  `astra_config_reloads_total{result="failed"`,
		record: `"msg":"astra: policy file has faults`,
		over:   `"msg":"astra: policy file is valid again`,
		within: 5 * time.Second,
		alerts: map[string]annotated{"AstraPoliciesFaulty": {
			labels:  instanceLabels(),
			summary: "i could not take new policies and keeps the old ones",
			text: func(w *walked) string {
				return fmt.Sprintf("It failed because of: invalid. The policies in use are those of %s. Fix the file: it is read again at once.", w.stampOf("astra_config_last_reload_success_timestamp_seconds{"))
			},
		}},
	},
	"A disk is full": {
		policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}},
		fault: func(w *walked) { // shows when there is something to save: a breaker that opens for a moment
			down := flakyserver.Fail(codes.Unavailable, "down")
			w.servers[0].Script(flakyserver.Any, down, down, down, down, down, down, down)
		},
		card:   "Store fails",
		gauge:  `astra_state_saves_total{result="failed"`,
		record: `"msg":"astra: saving state failed`,
		over:   `"msg":"astra: state is saved again`,
		within: 30 * time.Second,
		alerts: map[string]annotated{"AstraStateNotSaved": {
			labels:  instanceLabels(),
			summary: "i cannot save its state: a restart would begin with closed breakers and full budgets",
			text: func(*walked) string {
				return "It failed because of: no_space. It is tried again every 10 seconds."
			},
		}},
	},
}

// TestWalk: for each cause, each source alone has the answers that docs/on-call.md
// gives, says since when it is, and the alerts that are to fire do.
func TestWalk(t *testing.T) {
	documented := onCall(t)
	for cause, c := range walks {
		t.Run(strings.ReplaceAll(cause, " ", "_"), func(t *testing.T) {
			var w *walked
			switch cause {
			case "A policy file is faulty":
				w = policyFile(t)
			case "A disk is full":
				if !onSmallDisk(t) {
					return // a process that is on one does it
				}
				w = c.inBubble(t, fullDisk)
			default:
				w = c.inBubble(t, nil)
			}
			c.check(t, w, documented[cause])
		})
	}
	for cause := range documented {
		if _, ok := walks[cause]; !ok {
			t.Errorf("%s has %q, which is not walked", onCallFile, cause)
		}
	}
}

// check holds the three sources against what is to be found in them.
func (c walk) check(t *testing.T, w *walked, documented map[string][]string) {
	for name, text := range map[string]string{"page": w.page, "metrics": w.metrics + alertTexts(t, c.alerts), "log": w.log.String()} {
		quoted := documented[name]
		if os.Getenv(limitKey) != "" {
			for i, q := range quoted {
				quoted[i] = strings.ReplaceAll(q, "no space left on device", "file too large")
			}
		}
		findAll(t, name, text, quoted)
	}
	for source, since := range map[string]time.Time{"page": w.sinceByPage(c.card), "metrics": w.sinceByMetrics(c.gauge), "log": w.sinceByLog(c.record)} {
		if off := since.Sub(w.began); off < -time.Millisecond || off > c.within {
			t.Errorf("%s: since %v, which is %v after it began", source, since, off)
		}
	}
	if w.cardsAfter != nil {
		t.Errorf("it is over, and the page still has %q", flat(strings.Join(w.cardsAfter, " ")))
	}
	if !strings.Contains(w.log.String(), c.over) {
		t.Errorf("the log does not say %s", c.over)
	}
	c.checkAlerts(t, w)
}

// inBubble is a walk in virtual time, with real gRPC in memory.
func (c walk) inBubble(t *testing.T, more func(w *walked) interceptors.Option) (w *walked) {
	synctest.Test(t, func(t *testing.T) {
		w = newWalked(t)
		if more != nil {
			c.options = append(c.options, more(w))
		}
		w.start(max(1, c.servers), flakyserver.StartBuffer, append(c.options, interceptors.WithPolicy(c.policy))...)
		stop := w.scrapes()
		w.calls(goodFor)
		w.beginFault(c.fault)
		w.calls(lookAt)
		w.look()
		w.calls(illFor - lookAt)
		w.mend()
		w.calls(overBy*time.Minute - goodFor - illFor)
		stop()
		w.end()
	})
	w.t = t
	return w
}

// fullDisk stores state in a file, on a disk that has no room left from the fault on.
func fullDisk(w *walked) interceptors.Option {
	store, err := state.File(filepath.Join(os.Getenv(smallDiskKey), "state"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.faults = func() { fillDisk(w.t, os.Getenv(smallDiskKey)) }
	w.mended = func() { freeDisk(w.t, os.Getenv(smallDiskKey)) }
	return interceptors.WithStore(store)
}

// policyFile is the walk with a real file and real sockets, in real time; a scrape
// counts for fifteen seconds.
func policyFile(t *testing.T) *walked {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(attempts string) {
		text := "methodConfig:\n- name: [{service: shop.Cart}]\n  astra: {retry: {maxAttempts: " + attempts + "}}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("3")
	w := newWalked(t)
	w.log.wrote = make(chan struct{}, 1)
	w.start(1, func(...flakyserver.Option) *flakyserver.Server {
		s, err := flakyserver.Start()
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
	ctx, cancel := context.WithCancel(t.Context())
	if err := config.Watch(ctx, path, w.suite); err != nil {
		t.Fatal(err)
	}
	w.call()
	for range 20 {
		w.scrape()
	}
	w.beginFault(func(*walked) { write("three") })
	w.log.await(t, walks["A policy file is faulty"].record)
	w.call()
	for range 40 {
		w.scrape()
	}
	w.look()
	write("4")
	w.log.await(t, walks["A policy file is faulty"].over)
	for range 40 {
		w.scrape()
	}
	cancel()
	w.end()
	return w
}
