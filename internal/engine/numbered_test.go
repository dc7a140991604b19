package engine

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/metadata"
)

// TestNumberedHasOneValue: a proxy forwards the header of the call it serves.
func TestNumberedHasOneValue(t *testing.T) {
	forwarded := metadata.NewOutgoingContext(context.Background(), metadata.Pairs(attemptsKey, "3", "a", "b"))
	for _, ctx := range []context.Context{
		context.Background(), forwarded, metadata.AppendToOutgoingContext(context.Background(), attemptsKey, "3"),
	} {
		md, _ := metadata.FromOutgoingContext(numbered(ctx, 2))
		if got := md.Get(attemptsKey); fmt.Sprint(got) != "[1]" {
			t.Errorf("the second attempt says %v", got)
		}
	}
	if md, _ := metadata.FromOutgoingContext(forwarded); fmt.Sprint(md[attemptsKey], md["a"]) != "[3] [b]" {
		t.Errorf("the caller's own is %v now", md)
	}
}
