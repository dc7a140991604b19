package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"pgregory.net/rapid"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// channelTakes reports whether grpc-go takes a service config.
func channelTakes(t rapid.TB, serviceConfig string) error {
	cc, err := grpc.NewClient("passthrough:///nobody",
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		return err
	}
	if err := cc.Close(); err != nil {
		t.Fatal(err)
	}
	return nil
}

// TestAsGRPC: of service configs that are well typed, we take those that
// grpc-go takes, and read the same from them.
func TestAsGRPC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := func(name string) string {
			return rapid.OneOf(
				rapid.StringMatching(`-?[0-9]{0,3}(\.[0-9]{0,10})?s?`),
				rapid.SampledFrom([]string{".1s", "1.5s", "0s", "0.000000001s", "315576000000s", "315576000001s", "9223372037s", "01s", "1e1s", "s", "1m", " 1s"}),
			).Draw(t, name)
		}
		retry := map[string]any{
			"maxAttempts":          rapid.SampledFrom([]int{-1, 0, 1, 2, 3, 5, 6, 100, 1000}).Draw(t, "attempts"),
			"initialBackoff":       duration("initial"),
			"maxBackoff":           duration("max"),
			"backoffMultiplier":    rapid.SampledFrom([]float64{-1, 0, 1e-9, 0.5, 1, 1.6, 2, 1e6}).Draw(t, "multiplier"),
			"retryableStatusCodes": rapid.SliceOf(rapid.SampledFrom([]any{"UNAVAILABLE", "ABORTED", "CANCELLED", "NOPE", 1, 14, 16, 17, -1})).Draw(t, "codes"),
		}
		for key := range retry {
			if rapid.IntRange(0, 30).Draw(t, "without "+key) == 0 {
				delete(retry, key)
			}
		}
		spell := rapid.SampledFrom([]func(string) string{strings.Clone, strings.ToUpper, strings.ToLower}).Draw(t, "spelling")
		for key, v := range maps.Clone(retry) {
			delete(retry, key)
			retry[spell(key)] = v
		}
		doc := map[string]any{"methodConfig": []any{map[string]any{"name": []any{map[string]any{"service": "a.B"}}, spell("retryPolicy"): retry}}}
		if rapid.Bool().Draw(t, "throttled") {
			doc["retryThrottling"] = map[string]any{
				"maxTokens":  rapid.SampledFrom([]float64{-1, 0, 0.5, 1, 10, 1000, 1000.5}).Draw(t, "tokens"),
				"tokenRatio": rapid.SampledFrom([]float64{-1, 0, 0.001, 0.1, 0.5466, 1, 100}).Draw(t, "ratio"),
			}
		}
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, ours := config.Parse(data)
		theirs := channelTakes(t, string(data))
		if (ours == nil) != (theirs == nil) {
			t.Fatalf("%s\nours: %v\ngrpc-go: %v", data, ours, theirs)
		}
	})
}

// TestChannelsTakeItToo: a document can be given to a channel, which skips what
// is ours.
func TestChannelsTakeItToo(t *testing.T) {
	for _, doc := range []string{
		`{}`,
		`{"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [{"name": [{}], "timeout": "1s", "astra": {"breaker": {"consecutive": 3}}}]}`,
	} {
		if _, err := config.Parse([]byte(doc)); err != nil {
			t.Error(err)
		}
		if err := channelTakes(t, doc); err != nil {
			t.Error(err)
		}
	}
}

func policyOf(t *testing.T, entry string) interceptors.Policy {
	t.Helper()
	d, err := config.Decode([]byte("methodConfig: [{name: [{}], " + entry + "}]"))
	if err != nil {
		t.Fatal(err)
	}
	return d.Policies()["*"]
}

func TestRetriesOnlyIfAsked(t *testing.T) {
	for entry, want := range map[string]int{
		"":                                    1,
		"timeout: 1s":                         1,
		"astra: {}":                           1,
		"astra: {breaker: {}}":                1,
		"astra: {hedge: {delay: 1ms}}":        1, // one attempt: no hedge
		"astra: {hedge: {maxAttempts: 2}}":    0, // a zero Retry beside hedges is none
		"hedgingPolicy: {maxAttempts: 2}":     0,
		"astra: {retry: {}}":                  0, // the default
		"astra: {retry: {bufferBytes: 1000}}": 0,
		"astra: {retry: {maxAttempts: 7}}":    7,
		"retryPolicy: {maxAttempts: 4, initialBackoff: 1s, maxBackoff: 1s, backoffMultiplier: 1, retryableStatusCodes: [14]}": 4,
	} {
		if got := policyOf(t, entry).Retry.MaxAttempts; got != want {
			t.Errorf("{%s}: MaxAttempts %d, want %d", entry, got, want)
		}
	}
}

func TestCodesAsWritten(t *testing.T) {
	for written, want := range map[string]astracodes.Set{
		"UNAVAILABLE":            astracodes.Of(codes.Unavailable),
		"unavailable":            astracodes.Of(codes.Unavailable),
		"UnAvailable":            astracodes.Of(codes.Unavailable),
		"DeadlineExceeded":       astracodes.Of(codes.DeadlineExceeded),
		"deadline_exceeded":      astracodes.Of(codes.DeadlineExceeded),
		"CANCELED":               astracodes.Of(codes.Canceled),
		"cancelled":              astracodes.Of(codes.Canceled),
		"14":                     astracodes.Of(codes.Unavailable),
		"14.0":                   astracodes.Of(codes.Unavailable),
		"1, 1, CANCELLED, 16":    astracodes.Of(codes.Canceled, codes.Unauthenticated),
		"":                       0,
		"OK":                     0,
		"0":                      0,
		"17":                     0,
		"-1":                     0,
		"14.5":                   0,
		`"14"`:                   0,
		"DEADLINE-EXCEEDED":      0,
		"UNAVAILABLE, NO_SUCH_1": 0,
	} {
		d, err := config.Decode([]byte("methodConfig: [{name: [{}], astra: {breaker: {failures: [" + written + "]}}}]"))
		if want == 0 {
			if err == nil {
				t.Errorf("[%s] is taken: %v", written, d.Policies()["*"].Breaker.Failures)
			}
			continue
		}
		if err != nil {
			t.Errorf("[%s]: %v", written, err)
		} else if got := d.Policies()["*"].Breaker.Failures; got != want {
			t.Errorf("[%s] is %v, want %v", written, got, want)
		}
	}
}

func TestDurationsAsWritten(t *testing.T) {
	const century = 100 * 365 * 24 * time.Hour
	for written, want := range map[string]time.Duration{
		"1s": time.Second, "1.5s": 1500 * time.Millisecond, ".1s": 100 * time.Millisecond, "1.s": time.Second,
		"0.000000001s": 1, "00012s": 12 * time.Second, "3153600000s": century, "3153599999.999999999s": century - 1,
		"315576000000s": century,
		"":              0, "1": 0, "s": 0, ".s": 0, "1S": 0, "1ms": 0, "1m": 0, "+1s": 0, "-1s": 0, "0s": 0, "-0s": 0, "1 s": 0, "1e3s": 0,
		"0.0000000001s": 0, "315576000000.000000001s": 0, "99999999999999999999s": 0, "1.5.5s": 0, "١s": 0,
	} {
		d, err := config.Decode(fmt.Appendf(nil, `{"methodConfig": [{"name": [{}], "timeout": %q}]}`, written))
		if want == 0 {
			if err == nil || !strings.Contains(err.Error(), "timeout: ") {
				t.Errorf("%q is taken, or its fault does not say so: %v", written, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", written, err)
		} else if got := d.Policies()["*"].Timeout; got != want {
			t.Errorf("%q is %v, want %v", written, got, want)
		}
	}
}
