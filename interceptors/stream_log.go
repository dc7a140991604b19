package interceptors

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"
)

// sentMessage is a message the caller sent, as it was then.
type sentMessage struct {
	like    any // of its type
	encoded mem.BufferSlice
}

const (
	// frameBytes is what a message costs beside its encoding, as grpc-go
	// counts it.
	frameBytes = 5
	// maxReplayBytes bounds what all streams of a suite keep.
	maxReplayBytes = 64 << 20
)

// sendLog is what has to be sent again should the attempt fail. What it holds
// is counted in the suite's ledger too.
type sendLog struct {
	messages []sentMessage
	one      [1]sentMessage // room for a server stream's
	bytes    int
	closed   bool // CloseSend was called
}

// fits books room for a message of that size, if the stream and the suite have
// it.
func (l *sendLog) fits(size, limit int, suite *atomic.Int64) bool {
	size += frameBytes
	if l.bytes+size > limit {
		return false
	}
	if suite.Add(int64(size)) > maxReplayBytes {
		suite.Add(-int64(size))
		return false
	}
	l.bytes += size
	return true
}

func (l *sendLog) add(m any, encoded mem.BufferSlice) {
	if l.messages == nil {
		l.messages = l.one[:0]
	}
	l.messages = append(l.messages, sentMessage{m, encoded})
}

func (l *sendLog) release(suite *atomic.Int64) {
	for _, m := range l.messages {
		m.encoded.Free()
	}
	suite.Add(-int64(l.bytes))
	*l = sendLog{closed: l.closed}
}
