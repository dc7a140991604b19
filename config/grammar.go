package config

import (
	"math"

	"google.golang.org/grpc/codes"
)

// The grammar: gRPC's service config (service_config.proto in grpc-proto, in
// proto-JSON; gRFC A6), and our own object in its entries, astra.

const (
	maxRetryAttempts = 100 // of [interceptors.Retry]
	maxHedgeAttempts = 10  // of [interceptors.Hedge]
	maxRatio         = 10  // of [interceptors.Budget]
)

var document = &objectShape{grpc: true, fields: []field{
	{key: "$schema", ours: true, shape: anything{}, doc: "Where editors find this schema."},
	{key: "methodConfig", shape: listOf{methodConfig}, doc: "Policies, and the methods that each is for."},
	{key: "retryThrottling", shape: throttling,
		doc: "The retry budget of every entry that has none of its own (gRFC A6): tokenRatio is its ratio, half of maxTokens its burst."},
	{key: "balancing", ours: true, doc: "How load is balanced among backends. Only for a suite made with it, as its connections are."}, // see init
	{key: "chaos", ours: true, shape: chaosPlan, doc: "Faults that are injected into attempts, for a test in staging. Refused unless the program has consented."},
	{key: "loadBalancingConfig", channel: true},
	{key: "loadBalancingPolicy", channel: true},
	{key: "healthCheckConfig", channel: true},
	{key: "connectionScaling", channel: true},
}}

var methodConfig = &objectShape{grpc: true, fields: []field{
	{key: "name", shape: listOf{methodName}, doc: "The methods that this entry is for. The most specific entry holds, as a whole."},
	{key: "timeout", shape: duration{}, doc: "Bounds the whole call, backoffs included."},
	{key: "retryPolicy", shape: retryPolicy, doc: "How failed calls are retried (gRFC A6). Without this, hedgingPolicy, astra.retry and astra.hedge, they are not."},
	{key: "hedgingPolicy", shape: hedgingPolicy, doc: "How further attempts start beside one that runs (gRFC A6). Not beside retryPolicy."},
	{key: "astra", ours: true, doc: "All that Astra can do: what is left out is its default."}, // see init
	{key: "waitForReady", channel: true},
	{key: "maxRequestMessageBytes", channel: true},
	{key: "maxResponseMessageBytes", channel: true},
}}

// init closes what would be a circle of variables: the shape of a policy is
// made from its type.
func init() {
	methodConfig.field("astra").shape = policyShape()
	document.field("balancing").shape = balancingShape
}

var methodName = &objectShape{grpc: true, fields: []field{
	{key: "service", shape: name{}, doc: "The service, with its package. Left out: all methods of all services."},
	{key: "method", shape: name{}, doc: "The method. Left out: all methods of the service."},
}}

var retryPolicy = &objectShape{grpc: true, fields: []field{
	{key: "maxAttempts", shape: integer{from: 2, to: math.MaxUint32}, required: "want a number, 2 or more",
		doc: "Attempts of a call, the first included. What is above 100 counts as 100."},
	{key: "initialBackoff", shape: duration{}, required: "want a duration",
		doc: "Delay before the first retry, which chance spreads."},
	{key: "maxBackoff", shape: duration{}, required: "want a duration",
		doc: "Cap of the delay, before chance."},
	{key: "backoffMultiplier", shape: real{above: true, to: math.MaxFloat32}, required: "want a number above 0",
		doc: "From one delay to the next. What is below 1 counts as 1."},
	{key: "retryableStatusCodes", shape: codeSet{from: codes.Canceled}, required: "want a list of status codes",
		doc: "What is retried."},
}}

var hedgingPolicy = &objectShape{grpc: true, fields: []field{
	{key: "maxAttempts", shape: integer{from: 2, to: math.MaxUint32}, required: "want a number, 2 or more",
		doc: "Attempts of a call, the first included. What is above 10 counts as 10."},
	{key: "hedgingDelay", shape: duration{zero: true},
		doc: "Between one start and the next. 0s or left out: all start at once."},
	{key: "nonFatalStatusCodes", shape: codeSet{from: codes.Canceled, empty: true},
		doc: "Failures that start the next attempt instead of ending the call. Left out: none."},
}}

var throttling = &objectShape{grpc: true, fields: []field{
	{key: "maxTokens", shape: real{above: true, to: 1000}, required: "want a number above 0, up to 1000",
		doc: "Twice the budget's burst."},
	{key: "tokenRatio", shape: real{from: 0.001, to: math.MaxFloat32}, required: "want a number, 0.001 or more",
		doc: "What a successful call earns. Decimals beyond three are cut; what is above 10 counts as 10."},
}}

// anything is not looked at.
type anything struct{}

func (anything) read(*reader, *node, *path) (any, bool) { return nil, true }
