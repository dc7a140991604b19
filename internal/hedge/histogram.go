package hedge

import (
	"math/bits"
	"time"
)

// The histogram's buckets: sixteen to each doubling, so that an edge is at most
// 1/16 above what it stands for, from 8 µs to about 4½ minutes.
const (
	subBits  = 4
	minExp   = 13 // 2¹³ ns
	maxExp   = 38
	nBuckets = (maxExp-minExp)<<subBits + 2 // and what is below and above
)

// bucketOf returns the bucket that counts d.
func bucketOf(d time.Duration) int {
	if d < 1<<minExp {
		return 0
	}
	exp := bits.Len64(uint64(d)) - 1
	if exp >= maxExp {
		return nBuckets - 1
	}
	sub := int(d>>(exp-subBits)) & (1<<subBits - 1)
	return (exp-minExp)<<subBits + sub + 1
}

// edgeOf returns the upper edge of a bucket: no duration in it is longer, but
// in the last.
func edgeOf(bucket int) time.Duration {
	if bucket >= nBuckets-1 {
		return 1 << maxExp
	}
	exp, sub := minExp+bucket>>subBits, bucket&(1<<subBits-1)
	return time.Duration(1<<subBits+sub) << (exp - subBits)
}

// quantile returns the edge below which the share q of what is counted lies,
// total in all.
func quantile(counts *[nBuckets]uint64, total uint64, q float64) time.Duration {
	rank := uint64(q * float64(total))
	var seen uint64
	for i, n := range counts {
		if seen += n; seen > rank {
			return edgeOf(i)
		}
	}
	return edgeOf(nBuckets - 1)
}
