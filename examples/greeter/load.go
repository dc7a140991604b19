package main

import (
	"context"
	"sync"
	"time"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

// names has one for each worker.
var names = []string{"Ada", "Alan", "Barbara", "Dennis", "Edsger", "Frances", "Grace", "Ken", "Lynn", "Tony"}

const (
	callsPerSecond = 50 // of all workers
	callDeadline   = time.Second
)

// load makes calls until ctx ends, and returns when the last of them has: they
// are not cut off, so that client and server count the same.
func load(ctx context.Context, greeter greeterpb.GreeterClient, pace float64) {
	every := time.Duration(float64(time.Second) * float64(len(names)) / callsPerSecond / pace)
	var workers sync.WaitGroup
	for i, name := range names {
		workers.Go(func() {
			if !wait(ctx, every*time.Duration(i)/time.Duration(len(names))) {
				return
			}
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				greet(context.WithoutCancel(ctx), greeter, name)
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	workers.Wait()
}

// greet makes a call as every caller should: with a deadline. How it ended is
// the observers' business here, not ours.
func greet(ctx context.Context, greeter greeterpb.GreeterClient, name string) {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	_, _ = greeter.SayHello(ctx, &greeterpb.HelloRequest{Name: name})
}
