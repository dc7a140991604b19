package chaos_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/astra-grpc/astra/chaos"
)

type proto = protobuf.Message

func TestValidate(t *testing.T) {
	good := chaos.Fault{Method: "*", Kind: chaos.Unsent, Share: 1}
	if err := (chaos.Plan{For: time.Minute, Faults: []chaos.Fault{good}}).Validate(); err != nil {
		t.Errorf("a good plan: %v", err)
	}
	for _, c := range []struct {
		change func(*chaos.Plan, *chaos.Fault)
		want   string
	}{
		{func(p *chaos.Plan, _ *chaos.Fault) { p.For = 0 }, "For: 0s is out of range: want from 1ms to 24h0m0s"},
		{func(p *chaos.Plan, _ *chaos.Fault) { p.For = 25 * time.Hour }, "For: 25h0m0s is out of range"},
		{func(p *chaos.Plan, _ *chaos.Fault) { p.Faults = nil }, "Faults: 0 is out of range: want from 1 to 100"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Method = "Find" }, `Faults[0].Method: "Find" is not a pattern`},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Method = "/a/b/c" }, `Faults[0].Method: "/a/b/c" is not a pattern`},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Method = "/a/\xff" }, `is not a pattern`},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Method = "/a/" + strings.Repeat("b", 600) }, `is not a pattern`},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Kind = 0 }, "Faults[0].Kind: 0 is not a kind of fault: want one of latency, status"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Share = 1.1 }, "Faults[0].Share: 1.1 is out of range: want more than 0, up to 1"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.From = -1 }, "Faults[0].From: -1ns is out of range"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Kind = chaos.Latency }, "Faults[0].Latency: is missing"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Kind, f.Latency = chaos.Latency, 2*time.Hour }, "Faults[0].Latency: 2h0m0s is out of range"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Kind = chaos.Status }, "Faults[0].Code: is missing: a status needs one"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Kind, f.Code = chaos.Status, 17 }, "Faults[0].Code: 17 is not a failure"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Code = codes.Aborted }, "Faults[0].Code: has no effect on kind unsent: set it for status only"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.After = 1 }, "Faults[0].After: has no effect on kind unsent: set it for reset, hang, corrupt only"},
		{func(_ *chaos.Plan, f *chaos.Fault) { f.Kind, f.After = chaos.Reset, -1 }, "Faults[0].After: -1 is out of range"},
	} {
		f := good
		p := chaos.Plan{For: time.Minute, Faults: []chaos.Fault{f}}
		c.change(&p, &f)
		if len(p.Faults) > 0 {
			p.Faults[0] = f
		}
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	both := chaos.Plan{Faults: []chaos.Fault{{Method: "x", Kind: chaos.Unsent}}}
	if err := both.Validate(); strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not all faults at once: %v", err)
	}
}

func TestKindText(t *testing.T) {
	for k := chaos.Latency; k <= chaos.Corrupt; k++ {
		text, err := k.MarshalText()
		var back chaos.Kind
		if err != nil || back.UnmarshalText(text) != nil || back != k {
			t.Errorf("%v: %s, %v, %v", k, text, err, back)
		}
	}
	if _, err := chaos.Kind(99).MarshalText(); err == nil || chaos.Kind(99).String() != "Kind(99)" {
		t.Error("99 is a kind")
	}
	var k chaos.Kind
	if err := k.UnmarshalText([]byte("")); err == nil {
		t.Error("an empty text is a kind")
	}
}
