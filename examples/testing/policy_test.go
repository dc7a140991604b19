package testing

import (
	"os"
	"testing"
	"time"

	"github.com/astra-grpc/astra/astratest"
	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// policies are those of the file that the program is deployed with.
func policies(t *testing.T) []interceptors.Option {
	path := "policy.yaml"
	if other := os.Getenv("POLICY"); other != "" {
		path = other
	}
	opts, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func TestMyLedgerIsNeverCalledTwice(t *testing.T) {
	r := astratest.Run(t, astratest.LostReplies("/bank.Ledger/Transfer", 0.2), policies(t)...)
	if twice := r.Repeated(); len(twice) > 0 {
		t.Errorf("%d transfers may have run twice\n%v", len(twice), r)
	}
}

func TestMySearchSurvivesOneBadBackendOfThree(t *testing.T) {
	r := astratest.Run(t, astratest.OneBadBackend("/search.Search/Find", 3), policies(t)...)
	if r.Success() < 0.99 {
		t.Errorf("%.1f %% of searches succeeded, want 99 %%\n%v", 100*r.Success(), r)
	}
}

func TestMyPoliciesRecoverFromAnOutage(t *testing.T) {
	for _, method := range []string{"/bank.Ledger/Transfer", "/search.Search/Find"} {
		r := astratest.Run(t, astratest.Outage(method, 5*time.Second), policies(t)...)
		if d, ok := r.Recovery(); !ok || d > time.Second {
			t.Errorf("recovered after %v, want 1 s\n%v", d, r)
		}
	}
}
