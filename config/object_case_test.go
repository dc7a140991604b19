package config_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/astra-grpc/astra/config"
)

// TestKeysOfGRPCInAnyCase: grpc-go reads them so, and its own example has them
// with capital letters.
func TestKeysOfGRPCInAnyCase(t *testing.T) {
	const plain = `{
		"loadBalancingPolicy": "pick_first",
		"methodConfig": [
			{"name": [{"service": "a.B", "method": "C"}], "timeout": "3s", "retryPolicy": {"maxAttempts": 4, "initialBackoff": ".01s", "maxBackoff": ".1s", "backoffMultiplier": 2.0, "retryableStatusCodes": ["UNAVAILABLE"]}},
			{"name": [{"service": "a.C"}], "hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "1s", "nonFatalStatusCodes": ["ABORTED"]}, "astra": {"budget": {"burst": 9}}}
		],
		"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}
	}`
	want, err := config.Decode([]byte(plain))
	if err != nil {
		t.Fatal(err)
	}
	respelt := func(spell func(string) string) string {
		doc := plain
		for _, key := range strings.Fields("loadBalancingPolicy methodConfig name service method timeout retryPolicy maxAttempts initialBackoff maxBackoff " +
			"backoffMultiplier retryableStatusCodes hedgingPolicy hedgingDelay nonFatalStatusCodes retryThrottling maxTokens tokenRatio") {
			doc = strings.ReplaceAll(doc, `"`+key+`":`, `"`+spell(key)+`":`)
		}
		return doc
	}
	for _, spell := range []func(string) string{
		func(key string) string { return strings.ToUpper(key[:1]) + key[1:] },
		strings.ToUpper,
		strings.ToLower,
	} {
		doc := respelt(spell)
		if err := channelTakes(t, doc); err != nil {
			t.Errorf("grpc-go does not take it: %v", err)
		}
		got, err := config.Decode([]byte(doc))
		if err != nil {
			t.Errorf("%s:\n%v", spell("key"), err)
			continue
		}
		if !reflect.DeepEqual(got.Policies(), want.Policies()) {
			t.Errorf("%s: read as\n%+v\nwant\n%+v", spell("key"), got.Policies(), want.Policies())
		}
		if w := got.Warnings(); len(w) != len(want.Warnings()) || w[0].Key != spell("loadBalancingPolicy") {
			t.Errorf("%s: warnings %v, want those of\n%v", spell("key"), w, want.Warnings())
		}
	}
}

// TestFaultsOfKeysInAnyCase: a key in two spellings is one that is written
// twice, our own have one spelling, and faults call keys what the document does.
func TestFaultsOfKeysInAnyCase(t *testing.T) {
	const retries = `initialBackoff: 1s, maxBackoff: 1s, backoffMultiplier: 1, retryableStatusCodes: [14]`
	for doc, want := range map[string]string{
		`methodConfig: [{name: [{}], retryPolicy: {maxAttempts: 2, MaxAttempts: 3, ` + retries + `}}]`: `line 1, column 59: methodConfig[0].retryPolicy.MaxAttempts: is written twice, first as maxAttempts in line 1: write each key once`,
		`methodConfig: [{name: [{service: a.B, Service: a.C}]}]`:                                       `line 1, column 39: methodConfig[0].name[0].Service: is written twice, first as service in line 1: write each key once`,
		`methodConfig: [{name: [{}], Astra: {}}]`:                                                      `line 1, column 29: methodConfig[0].Astra: is unknown: did you mean astra?`,
		`methodConfig: [{name: [{}], astra: {Timeout: 1s}}]`:                                           `line 1, column 37: methodConfig[0].astra.Timeout: is unknown: did you mean timeout?`,
		`methodConfig: [{name: [{}], MaxAttempts: 3}]`:                                                 `line 1, column 29: methodConfig[0].MaxAttempts: is unknown: did you mean retryPolicy.maxAttempts?`,
		`methodConfig: [{name: [{}], Timeout: 1s, astra: {attemptTimeout: 2s}}]`:                       `line 1, column 66: methodConfig[0].astra.attemptTimeout: "2s" is out of range: want <= Timeout, which is 1s`,
		`methodConfig: [{name: [{}], RetryPolicy: {MaxAttempts: 1, ` + retries + `}}]`:                 `line 1, column 56: methodConfig[0].RetryPolicy.MaxAttempts: 1 is out of range: want 2 or more`,
	} {
		_, err := config.Decode([]byte(doc))
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n%v\nwant\n%s", doc, err, want)
		}
	}
}
