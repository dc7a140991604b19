package interceptors_test

import (
	"context"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// The signatures that users compile against.
var (
	_ func(...interceptors.Option) (*interceptors.Suite, error) = interceptors.New
	_ func(*interceptors.Suite) grpc.UnaryClientInterceptor     = (*interceptors.Suite).UnaryClientInterceptor
	_ func(*interceptors.Suite) grpc.StreamClientInterceptor    = (*interceptors.Suite).StreamClientInterceptor
	_ func(*interceptors.Suite) []grpc.DialOption               = (*interceptors.Suite).DialOptions
	_ func(*interceptors.Suite, ...interceptors.Option) error   = (*interceptors.Suite).Reload
	_ func(*interceptors.Suite) error                           = (*interceptors.Suite).Close
	_ func(interceptors.Policy) interceptors.Option             = interceptors.WithPolicy
	_ func(string, interceptors.Policy) interceptors.Option     = interceptors.WithMethodPolicy
	_ func(...observe.Observer) interceptors.Option             = interceptors.WithObserver
	_ func(string, interceptors.Fallback) interceptors.Option   = interceptors.WithFallback
	_ func(interceptors.Policy) grpc.CallOption                 = interceptors.WithCallPolicy
	_ func() grpc.CallOption                                    = interceptors.NoRetry
	_ func(interceptors.Store) interceptors.Option              = interceptors.WithStore
	_ interceptors.Fallback                                     = func(context.Context, string, any, any, error) error { return nil }
	_ error                                                     = interceptors.ErrBreakerOpen
	_ error                                                     = interceptors.ErrLimited
)
