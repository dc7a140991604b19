// Package client is README's first example, as it is pasted.
package client

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
)

// Suite returns the one suite of the program, which serves all its connections.
// Close it, or Reload it, when the program does so.
var Suite = sync.OnceValues(func() (*interceptors.Suite, error) {
	m := metrics.New()
	prometheus.MustRegister(m)
	return interceptors.New(interceptors.WithObserver(m))
})

// Dial returns a connection whose calls are retried, guarded and counted.
func Dial(target string) (*grpc.ClientConn, error) {
	suite, err := Suite()
	if err != nil {
		return nil, err
	}
	opts := append(suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return grpc.NewClient(target, opts...)
}
