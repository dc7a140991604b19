package real

import (
	"context"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/overhead"
)

func overheads() lab.Scenario {
	return lab.Scenario{
		Name:  "overhead",
		Title: "What it costs when nothing is wrong",
		About: "The interceptors around an invoker that does nothing, serial and on two processors at once; around one that " +
			"fails, so that two retries are made at once; and calls, messages and streams over loopback. Rounds are many and " +
			"short, and in each all have their turn.",
		Real: true,
		Run:  runOverhead,
	}
}

func runOverhead(ctx context.Context, o lab.Options) (*lab.Result, error) {
	m, err := overhead.New()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	rounds, tries := overhead.Rounds, overhead.Tries
	if o.Quick {
		rounds, tries = overhead.RoundsShort, 2
	}
	for try := range tries {
		progress := func(round int) { o.Progress((float64(try) + float64(round)/float64(rounds)) / float64(tries)) }
		if err := m.Measure(ctx, rounds, progress); err != nil {
			return nil, err
		}
		if m.Settled() {
			break
		}
	}
	return &lab.Result{
		Contenders: m.Contenders(),
		Tables:     m.Tables(),
		Gates:      m.Gates(true),
		Notes: []string{
			"Times tell most as ratios within this run: a busy machine slows down whoever allocates most.",
			"go-grpc-middleware's retry keeps no state and does nothing unless a call fails, so it is the least there can be.",
			"go-grpc-middleware's retry fails bidirectional streams with UNIMPLEMENTED, so it has no message on one to measure.",
		},
	}, nil
}
