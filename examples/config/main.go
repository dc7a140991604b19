// Command config says how often failing calls are tried, and again when you edit the policy file that it names.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

//go:embed policy.yaml
var policy []byte

func main() {
	path := flag.String("config", "", "policy file to watch; if none is named, one is written to the folder for temporary files")
	flag.Parse()
	if *path == "" {
		*path = os.TempDir() + "/astra-policy.yaml"
		check(os.WriteFile(*path, policy, 0o600))
	}
	run(context.Background(), *path, os.Stdout)
}

func run(ctx context.Context, path string, out io.Writer) {
	server := flakyserver.StartBuffer()
	defer server.Close()
	server.SetDown(flakyserver.Fail(codes.Unavailable, "down"))
	suite, err := interceptors.New()
	check(err)
	check(config.Watch(ctx, path, suite)) // every fault, if the file has some
	conn, err := server.Dial(suite.DialOptions()...)
	check(err)
	defer func() { _ = conn.Close() }()
	for printed, before := int64(-1), int64(0); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		_, err := greeterpb.NewGreeterClient(conn).SayHello(ctx, &greeterpb.HelloRequest{Name: "Ada"})
		all := server.Stats(flakyserver.Any).Attempts
		if tries := all - before; tries != printed {
			fmt.Fprintf(out, "%s, generation %d: a call is tried %d times (%v)\n", path, suite.Revision().Generation, tries, err)
			printed = tries
		}
		before = all
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
