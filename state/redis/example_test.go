package astraredis_test

import (
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/astra-grpc/astra/interceptors"
	astraredis "github.com/astra-grpc/astra/state/redis"
)

// A suite whose breakers open when two other instances have opened theirs, and
// that finds its own reports again after a restart.
func ExampleNew() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379"})
	defer func() { _ = client.Close() }() // after the suite
	store, err := astraredis.New(client, astraredis.WithInstance("shop-1"), astraredis.WithQuorum(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	suite, err := interceptors.New(interceptors.WithStore(store))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = suite.Close() }()
	// conn, err := grpc.NewClient(target, append(suite.DialOptions(), creds)...)

	fmt.Println("ready, with or without Redis")
	// Output: ready, with or without Redis
}
