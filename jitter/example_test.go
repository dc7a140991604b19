package jitter_test

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/jitter"
)

func ExampleBackoff_Delay() {
	var b jitter.Backoff // the defaults
	for attempt := range 7 {
		fmt.Print(b.Delay(attempt), " ")
	}
	// Output: 0s 500ms 1s 2s 4s 8s 8s
}

func ExampleBackoff_Next() {
	b := jitter.Backoff{Base: 100 * time.Millisecond, Max: time.Second, Jitter: jitter.Equal}
	chance := []float64{0.5, 0, 0.25} // rand.Float64 in earnest

	prev := time.Duration(0)
	for i, u := range chance {
		prev = b.Next(i+1, prev, u)
		fmt.Println(prev)
	}
	// Output:
	// 75ms
	// 100ms
	// 250ms
}

func ExampleParse() {
	s, err := jitter.Parse("decorrelated")
	fmt.Println(s, err)
	_, err = jitter.Parse("half")
	fmt.Println(err)
	// Output:
	// decorrelated <nil>
	// strategy "half" is unknown: want full, equal, decorrelated, none, aws-full or aws-decorrelated
}
