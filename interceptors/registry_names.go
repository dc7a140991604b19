package interceptors

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/astra-grpc/astra/internal/text"
)

const (
	// maxKey bounds, in bytes, the targets that are kept as connections were
	// given them. A longer one has its name made anew at each call.
	maxKey = 4096
	// maxHead bounds, in bytes, what is kept of a longer name's beginning.
	maxHead = 192
)

// short returns what stands for a name longer than [text.MaxName]: its
// beginning and its hash, the same in each process.
func short(name string) string {
	if len(name) <= text.MaxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return text.Fit(name, maxHead) + hex.EncodeToString(sum[:16])
}

// shortMethod is short of a method, which stays one of its service.
func shortMethod(method string) string {
	if len(method) <= text.MaxName {
		return method
	}
	if i := strings.LastIndexByte(method, '/'); 0 < i && i <= maxHead {
		sum := sha256.Sum256([]byte(method))
		return method[:i+1] + text.Fit(method[i+1:], maxHead) + hex.EncodeToString(sum[:16])
	}
	return short(method)
}

// naming finds the names of targets, and remembers them.
type naming struct {
	of       func(target string) string
	panicked atomic.Bool // and logged. No sync.Once: a logger may come back here

	mu    sync.Mutex
	known map[string]*targetName
}

type targetName struct {
	once sync.Once
	name string
	used bool // since the last look for idle ones
}

// maxNames bounds the names that are remembered.
const maxNames = 2 * maxPlans

// name returns a target's name. No lock is held while the function runs.
func (n *naming) name(target string, log func() *slog.Logger) string {
	if n == nil {
		return short(target)
	}
	n.mu.Lock()
	t := n.known[target]
	if t == nil {
		t = &targetName{}
		if len(target) <= maxKey && len(n.known) < maxNames {
			n.known[target] = t
		}
	}
	t.used = true
	n.mu.Unlock()
	t.once.Do(func() {
		t.name = short(target) // should the function end its goroutine
		t.name = short(n.ask(target, log))
	})
	return t.name
}

func (n *naming) ask(target string, log func() *slog.Logger) (name string) {
	defer func() {
		if p := recover(); p != nil {
			name = target
			if n.panicked.CompareAndSwap(false, true) {
				log().Error("astra: function of WithTargetName panicked: the target's own name is used",
					"target", text.Name(target), "panic", p)
			}
		}
	}()
	if name = n.of(target); name == "" {
		return target
	}
	return strings.Clone(name) // it may be a piece of something large
}

// sweep forgets the names that no first call has asked for since the last sweep.
func (n *naming) sweep() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for target, t := range n.known {
		if !t.used {
			delete(n.known, target)
		}
		t.used = false
	}
}
