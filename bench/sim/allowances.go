package sim

import (
	"math"
	"time"
)

// perCall is a token bucket that every call fills, whatever becomes of it.
type perCall struct{ ratio, most, tokens float64 }

func (b *perCall) called(time.Duration)      { b.tokens = math.Min(b.most, b.tokens+b.ratio) }
func (b *perCall) failed(time.Duration)      {}
func (b *perCall) served(time.Duration, int) {}
func (b *perCall) refund(time.Duration)      { b.tokens++ }
func (b *perCall) take(time.Duration) bool {
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// finagle is Finagle's RetryBudget: what calls of the last ten seconds earned,
// less what retries of these cost, and a reserve for each second of them.
type finagle struct {
	ratio, reserve float64 // the reserve for all ten seconds
	slots          [10]float64
	epoch          int64
}

func (b *finagle) turn(now time.Duration) *float64 {
	e := int64(now / time.Second)
	for ; b.epoch < e; b.epoch++ {
		b.slots[(b.epoch+1)%10] = 0
	}
	return &b.slots[e%10]
}

func (b *finagle) called(now time.Duration)  { *b.turn(now) += b.ratio }
func (b *finagle) failed(time.Duration)      {}
func (b *finagle) served(time.Duration, int) {}
func (b *finagle) refund(now time.Duration)  { *b.turn(now)++ }
func (b *finagle) take(now time.Duration) bool {
	slot, sum := b.turn(now), b.reserve
	for _, s := range b.slots {
		sum += s
	}
	if sum < 1 {
		return false
	}
	*slot--
	return true
}

// throttle is grpc-go's retryThrottling (gRFC A6): failed attempts cost a token,
// served calls earn a share of one, and at half of them retries stop.
type throttle struct{ most, ratio, tokens float64 }

func (b *throttle) called(time.Duration)      {}
func (b *throttle) failed(time.Duration)      { b.tokens = math.Max(0, b.tokens-1) }
func (b *throttle) served(time.Duration, int) { b.tokens = math.Min(b.most, b.tokens+b.ratio) }
func (b *throttle) refund(time.Duration)      {}
func (b *throttle) take(time.Duration) bool   { return b.tokens > b.most/2 }

// aws is the token bucket of the AWS SDKs since 2026: a retry costs 14, and a
// call that it saved gets that back; a call served at once earns one.
type aws struct{ tokens float64 }

const (
	awsTokens = 500.0
	awsRetry  = 14.0
)

func (b *aws) called(time.Duration) {}
func (b *aws) failed(time.Duration) {}
func (b *aws) refund(time.Duration) { b.tokens += awsRetry }
func (b *aws) served(_ time.Duration, retries int) {
	b.tokens = math.Min(awsTokens, b.tokens+max(1, awsRetry*float64(min(retries, 1))))
}
func (b *aws) take(time.Duration) bool {
	if b.tokens < awsRetry {
		return false
	}
	b.tokens -= awsRetry
	return true
}
