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

// What chance does to a delay of a second, at both ends of its range.
func ExampleStrategy_Apply() {
	const base, most = 500 * time.Millisecond, 8 * time.Second
	for _, s := range []jitter.Strategy{jitter.Full, jitter.Equal, jitter.AWSFull, jitter.None} {
		fmt.Println(s, s.Apply(time.Second, 0, base, most, 0), s.Apply(time.Second, 0, base, most, 0.5))
	}
	// Output:
	// full 500ms 1s
	// equal 500ms 750ms
	// aws-full 0s 500ms
	// none 1s 1s
}
