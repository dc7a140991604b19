package flakyserver

import "testing"

func BenchmarkSayHello(b *testing.B) {
	for _, log := range []struct {
		name  string
		limit int
	}{{"log", defaultLog}, {"nolog", 0}} {
		b.Run(log.name, func(b *testing.B) {
			s := StartBuffer(WithLog(log.limit))
			defer s.Close()
			cc, err := s.Dial()
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = cc.Close() }()
			in, out := request("Ann"), request("")
			b.ReportAllocs()
			for b.Loop() {
				if err := cc.Invoke(b.Context(), hello, in, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
