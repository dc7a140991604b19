package codes_test

import (
	"encoding/json"
	"fmt"

	astracodes "github.com/astra-grpc/astra/codes"
	"google.golang.org/grpc/codes"
)

func Example() {
	retry := astracodes.Retryable.With(codes.Aborted).Without(codes.DeadlineExceeded)
	fmt.Println(retry, retry.Contains(codes.Aborted))

	text, _ := json.Marshal(retry)
	fmt.Println(string(text))
	// Output:
	// ABORTED,UNAVAILABLE true
	// ["ABORTED","UNAVAILABLE"]
}

func ExampleParse() {
	s, err := astracodes.Parse("UNAVAILABLE", "DeadlineExceeded", "canceled")
	fmt.Println(s, err)
	// Output: CANCELLED,DEADLINE_EXCEEDED,UNAVAILABLE <nil>
}

func ExampleSet_All() {
	for c := range astracodes.Failure.All() {
		fmt.Println(uint32(c), astracodes.Name(c))
	}
	// Output:
	// 2 UNKNOWN
	// 4 DEADLINE_EXCEEDED
	// 13 INTERNAL
	// 14 UNAVAILABLE
	// 15 DATA_LOSS
}

// What a breaker counts, without deadlines that callers set too short.
func ExampleSet_Without() {
	fmt.Println(astracodes.Failure.Without(codes.DeadlineExceeded))
	// Output: UNKNOWN,INTERNAL,UNAVAILABLE,DATA_LOSS
}
