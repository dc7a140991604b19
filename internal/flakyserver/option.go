package flakyserver

import "google.golang.org/grpc"

// defaultLog is plenty for a test and nothing for memory.
const defaultLog = 1024

// Option changes a server when it starts.
type Option func(*Server)

// WithLog keeps the last n attempts for [Server.Attempts]; 0 keeps none and
// spares their cost. Default: 1024.
func WithLog(n int) Option {
	return func(s *Server) { s.log.limit = n }
}

// WithAddr makes [Start] serve on this address instead of a free port of the
// loopback interface.
func WithAddr(addr string) Option {
	return func(s *Server) { s.addr = addr }
}

// WithCapacity bounds the work done at a time; see [Capacity].
func WithCapacity(c Capacity) Option {
	return func(s *Server) { s.pool = newPool(c) }
}

// WithServerOptions adds gRPC options, such as keepalive or message limits.
func WithServerOptions(opts ...grpc.ServerOption) Option {
	return func(s *Server) { s.grpcOpts = append(s.grpcOpts, opts...) }
}
