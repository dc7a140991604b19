package main

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// page is the /metrics page, being served.
type page struct {
	url     string
	server  http.Server
	serving sync.WaitGroup
}

func servePage(addr string, metrics prometheus.Collector) (*page, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(metrics); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, cannotListen("/metrics", addr, "-metrics", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	p := &page{
		url:    "http://" + listener.Addr().String() + "/metrics",
		server: http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
	p.serving.Go(func() { _ = p.server.Serve(listener) }) // until close
	return p, nil
}

func (p *page) close() {
	_ = p.server.Close()
	p.serving.Wait()
}
