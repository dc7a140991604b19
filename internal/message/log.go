package message

import (
	"sync/atomic"
)

const (
	// frameBytes is what the first message of a log costs beside its encoding,
	// as grpc-go counts it: there is room for it.
	frameBytes = 5
	// entryBytes is what any other costs: its place in the log, which grows by
	// more than it needs, and the allocations of its encoding.
	entryBytes = 128
	// maxBytes bounds what all logs of a ledger keep.
	maxBytes = 64 << 20
)

// Ledger counts what all logs of a suite keep, in bytes.
type Ledger struct{ atomic.Int64 }

// Log is what has to be sent again should the attempt fail. What it holds is
// counted in a ledger too.
type Log struct {
	Messages []Kept
	Closed   bool // CloseSend was called

	one   [1]Kept // room for a server stream's
	bytes int
}

// Add keeps a message, if the log, whose limit is given, and the ledger have
// room for it.
func (l *Log) Add(k Kept, limit int, all *Ledger) bool {
	size := k.size + entryBytes
	if len(l.Messages) == 0 {
		size = k.size + frameBytes
	}
	if l.bytes+size > limit {
		return false
	}
	if all.Add(int64(size)) > maxBytes {
		all.Add(-int64(size))
		return false
	}
	l.bytes += size
	if l.Messages == nil {
		l.Messages = l.one[:0]
	}
	l.Messages = append(l.Messages, k)
	return true
}

// Release gives all of it back.
func (l *Log) Release(all *Ledger) {
	for i := range l.Messages {
		l.Messages[i].Free()
	}
	all.Add(-int64(l.bytes))
	*l = Log{Closed: l.Closed}
}
