package engine

import (
	"context"
	"strconv"

	"google.golang.org/grpc/metadata"
)

// attemptsKey is the header in which a server finds how many attempts came before
// (gRFC A6).
const attemptsKey = "grpc-previous-rpc-attempts"

// numbered says in an attempt's header how many came before. That has one
// value, even if the caller forwards the header of a call that it serves.
func numbered(ctx context.Context, number int) context.Context {
	before := strconv.Itoa(number - 1)
	if len(metadata.ValueFromOutgoingContext(ctx, attemptsKey)) == 0 {
		return metadata.AppendToOutgoingContext(ctx, attemptsKey, before)
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	md.Set(attemptsKey, before)
	return metadata.NewOutgoingContext(ctx, md)
}
