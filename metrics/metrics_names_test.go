package metrics_test

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

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
