#!/bin/sh
# Records the session in docs/command.md: run it in cmd/astra/testdata with astra
# in the path. TestSession does, and compares.
say() {
	printf '$ %s\n' "$*"
	"$@" || printf '(exit code %d)\n' $?
	echo
}
say astra lint -descriptors shop.binpb shop.yaml
say astra explain shop.yaml shop.v1.Cart/Put
say astra simulate shop.yaml -method shop.v1.Cart/Put
say astra import -q -from istio import/istio.yaml
