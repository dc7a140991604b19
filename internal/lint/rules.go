package lint

// Rule is what is looked for.
type Rule struct {
	Name   string
	Error  bool
	Short  string // what it finds
	Why    string // the reason, and its source
	Needed string // "descriptors" if it finds nothing without them
}

// Rules are all there are, by name.
var Rules = []Rule{
	{"channel-key", false, "a key that only the channel can honour", "The suite skips it; give it to grpc.WithDefaultServiceConfig as well (service_config.proto).", ""},
	{"cut-value", false, "a number that counts as another", "gRFC A6 lets clients cut values that are too large instead of rejecting the document.", ""},
	{"double-write", false, "retries of requests that may have run, of a method whose name says that it writes", "A connection that is lost after the request was sent leaves open whether it ran; repeating it may do it twice (gRFC A6, AIP-133 to 136).", ""},
	{"endless-queue", false, "a queue without maxWait", "When more calls come than the limit lets through, each waits until it has no time left, and hardly one succeeds.", ""},
	{"invalid", true, "a fault: the file is refused", "See the documentation of package config.", ""},
	{"late-attempt", false, "an attempt that would begin after the call's timeout", "Attempt timeouts and backoffs add up to more than timeout.", ""},
	{"late-hedge", false, "a hedge that would start when the call is over", "Its delay is not shorter than the timeout that ends what it is to run beside.", ""},
	{"long-probe", false, "a probe that may take longer than its slot is kept", "The breaker lets another probe through meanwhile.", ""},
	{"long-queue", false, "a wait in the queue that uses up the call's timeout", "A call that waits so long has no time left for the server.", ""},
	{"no-name", false, "an entry without a name", "It is for no method.", ""},
	{"short-open-time", false, "a breaker that is open for less than the first backoff", "It gives the server less rest than one retry does.", ""},
	{"short-window", false, "a breaker's window of less than two slow calls or attempt timeouts", "Failures that take long seldom meet in it.", ""},
	{"small-budget", false, "a budget that does not pay for one call's retries", "Its burst is smaller than maxAttempts − 1.", ""},
	{"stream-timeout", false, "a timeout on a method that streams", "It ends the stream, however well it is (gRFC A6: a deadline is the call's).", ""},
	{"uncovered-method", false, "methods that no entry is for", "They have the default policy.", "descriptors"},
	{"undeclared-hedge", false, "a hedged method that is not declared idempotent", "Hedges run at the same time as the attempt before (gRFC A6, hedging policy).", "descriptors"},
	{"undeclared-repeat", false, "requests that may have run are repeated, and not declared idempotent", "idempotency_level in the .proto says what may be repeated (descriptor.proto).", "descriptors"},
	{"unknown-method", false, "a name that no service or method has", "What is given for it is for no call.", "descriptors"},
	{"unknown-rule", false, "a rule that is switched off, and is none", "What it was to switch off is still on.", ""},
	{"unreachable-slow-call", false, "a slowCall that no attempt lives to see", "Its timeout is shorter.", ""},
	{"unused-backoff", false, "a backoff for a code where nothing is retried", "maxAttempts is 1.", ""},
}
