package metrics_test

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
)

// TestLongNamesAreCut: a name that a proxy's client made up is in each scrape.
func TestLongNamesAreCut(t *testing.T) {
	m := metrics.New()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	su, err := interceptors.New(interceptors.WithObserver(m))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = su.Close() }()
	_ = su.UnaryClientInterceptor()(context.Background(), "/s.S/"+strings.Repeat("é", 32<<10), nil, nil, nil,
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				if len(l.GetValue()) > 512 {
					t.Fatalf("%s has a label of %d bytes", f.GetName(), len(l.GetValue()))
				}
			}
		}
	}
}

// TestTargetsHaveTheirNames: those that are others for each connection are one
// series.
func TestTargetsHaveTheirNames(t *testing.T) {
	m := metrics.New()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	su, err := interceptors.New(interceptors.WithObserver(m), interceptors.WithTargetName(func(target string) string {
		return "etcd" + target[strings.LastIndexByte(target, '/'):]
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = su.Close() }()
	for _, target := range []string{"passthrough://0xc000123456/db", "passthrough://0xc000987654/db"} {
		cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		_ = su.UnaryClientInterceptor()(context.Background(), "/s.S/Get", nil, nil, cc,
			func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil })
		if err := cc.Close(); err != nil {
			t.Fatal(err)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if f.GetName() != "astra_breaker_state" {
			continue
		}
		for _, one := range f.GetMetric() {
			for _, l := range one.GetLabel() {
				if l.GetName() == "target" {
					if seen++; l.GetValue() != "etcd/db" {
						t.Errorf("target %q", l.GetValue())
					}
				}
			}
		}
	}
	if seen != 1 {
		t.Errorf("%d series of breakers, want 1", seen)
	}
}
