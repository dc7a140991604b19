// Command state calls a server that is not there until the breaker opens, and
// exits. Run again within half a minute, it finds the breaker still open:
//
//	go run ./examples/state
//	go run ./examples/state
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/state"
)

func main() {
	if err := run(filepath.Join(os.TempDir(), "astra-example.state"), "127.0.0.1:1", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "state:", err)
		os.Exit(1)
	}
}

func run(path, target string, out io.Writer) (err error) {
	store, err := state.File(path)
	if err != nil {
		return err
	}
	suite, err := interceptors.New(interceptors.WithStore(store), interceptors.WithPolicy(interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: 1},
		Breaker: interceptors.Breaker{OpenFor: 30 * time.Second},
	}))
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, suite.Close()) }() // saves
	conn, err := grpc.NewClient(target, append(suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for n := 1; ; n++ {
		_, err := greeterpb.NewGreeterClient(conn).SayHello(context.Background(), &greeterpb.HelloRequest{Name: "Ada"})
		fmt.Fprintf(out, "call %d: %v\n", n, err)
		if err == nil || errors.Is(err, interceptors.ErrBreakerOpen) {
			return nil
		}
	}
}
