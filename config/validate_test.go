package config_test

import (
	"testing"

	"github.com/astra-grpc/astra/config"
)

// TestUnreadValues: a value that cannot be read has one fault, hides those that
// are about what it would have said, and no others.
func TestUnreadValues(t *testing.T) {
	for _, c := range []struct{ name, retry, want string }{
		{"itself", `{perCode: {UNAVAILABLE: {base: 10s, max: soon}}}`,
			`line 1, column 85: methodConfig[0].astra.retry.perCode.UNAVAILABLE.max: "soon" is not a duration: want such as "250ms", "1.5s" or "1h30m"`},
		{"what it would have said", `{backoff: {base: soon, max: 1ms}}`,
			`line 1, column 61: methodConfig[0].astra.retry.backoff.base: "soon" is not a duration: want such as "250ms", "1.5s" or "1h30m"`},
		{"of the same name, elsewhere", `{backoff: {base: soon}, perCode: {UNAVAILABLE: {max: 1ms}}}`,
			`line 1, column 61: methodConfig[0].astra.retry.backoff.base: "soon" is not a duration: want such as "250ms", "1.5s" or "1h30m"` + "\n" +
				`line 1, column 97: methodConfig[0].astra.retry.perCode.UNAVAILABLE.max: "1ms" is out of range: want >= base, which is 500ms`},
	} {
		_, err := config.Decode([]byte("methodConfig: [{name: [{}], astra: {retry: " + c.retry + "}}]"))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\n%v\nwant\n%s", c.name, err, c.want)
		}
	}
}
