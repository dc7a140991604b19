package peers

import (
	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// Grpcprom returns the client metrics of go-grpc-middleware's Prometheus
// provider, in a registry: its defaults, so without the histogram, which would
// make it slower.
func Grpcprom() grpc.UnaryClientInterceptor {
	m := grpcprom.NewClientMetrics()
	prometheus.NewRegistry().MustRegister(m)
	return m.UnaryClientInterceptor()
}
