package main

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/statuspage"
)

// page is the /metrics page, and the suite's status page beside it.
type page struct {
	url     string // of /metrics
	status  string // of the status page
	mux     *http.ServeMux
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
		status: "http://" + listener.Addr().String() + "/astra/",
		mux:    mux,
		server: http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
	}
	p.serving.Go(func() { _ = p.server.Serve(listener) }) // until close
	return p, nil
}

// show serves the status page of a suite. Who sits at this machine may steer.
func (p *page) show(s *interceptors.Suite) {
	p.mux.Handle("/astra/", statuspage.New(s, statuspage.WithTitle("Greeter"), statuspage.WithActions(onLoopback)))
}

// onLoopback refuses requests for another host than this machine's own address: a
// real program asks who somebody is.
func onLoopback(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.Host)
	if ip := net.ParseIP(host); err != nil || !ip.IsLoopback() {
		return errors.New("actions are for this machine alone")
	}
	return nil
}

func (p *page) close() {
	_ = p.server.Close()
	p.serving.Wait()
}
