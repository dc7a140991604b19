package statuspage

import (
	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// yamlOf is a policy as an entry of a policy file.
func yamlOf(p interceptors.PolicySnapshot) string { return config.Format(p.Pattern, p.Policy.Policy) }
