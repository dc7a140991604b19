// Quickstart is README's program: a client that retries, guards, counts and logs.
//
//	go run ./examples/greeter -serve 127.0.0.1:50051
//	go run ./examples/quickstart 127.0.0.1:50051
package main

import (
	"context"
	"log"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/tracing"
)

func main() {
	m := metrics.New()
	prometheus.MustRegister(m)
	suite, err := interceptors.New(interceptors.WithObserver(m, tracing.NewLogger(slog.Default())))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	opts := append(suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	for _, target := range os.Args[1:] { // any number of connections
		conn, err := grpc.NewClient(target, opts...)
		if err != nil {
			log.Fatal(err)
		}
		reply, err := greeterpb.NewGreeterClient(conn).SayHello(context.Background(), &greeterpb.HelloRequest{Name: "Ada"})
		log.Println(reply.GetMessage(), err, conn.Close())
	}
}
