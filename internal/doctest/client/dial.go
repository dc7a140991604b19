// Package client is README's first example, as it is pasted.
package client

import (
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
)

// Dial returns a connection whose calls are retried, guarded and counted.
func Dial(target string) (*grpc.ClientConn, error) {
	m := metrics.New()
	suite, err := interceptors.New(interceptors.WithObserver(m))
	if err != nil {
		return nil, err
	}
	prometheus.MustRegister(m) // so call Dial once, or share the suite: it serves many connections
	opts := append(suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return grpc.NewClient(target, opts...)
}
