package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// TestPoliciesSayWhereTheyAre: which line of which file a method's policy is from.
func TestPoliciesSayWhereTheyAre(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	text := "methodConfig:\n- name: [{service: s.S}]\n  astra: {breaker: {mode: observe}}\n- name: [{}]\n  timeout: 2s\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	e := s.Explain("", "/s.S/Get")
	if e.Policy.Source != path+":2" || e.Policy.Policy.Breaker.Mode != interceptors.ModeObserve {
		t.Errorf("%s, mode %v: want line 2, observe", e.Policy.Source, e.Policy.Policy.Breaker.Mode)
	}
	if got := s.Explain("", "/other.S/Get").Policy.Source; got != path+":4" {
		t.Errorf("%s, want line 4", got)
	}
}
