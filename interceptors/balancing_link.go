//go:build !astranobalancer

package interceptors

import _ "github.com/astra-grpc/astra/balancer" // the policy; the tag leaves it out, should a grpc-go break it
