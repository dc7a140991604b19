package chaostest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// echo serves connections that return what they are sent.
func echo(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = lis.Close(); <-done })
	return lis.Addr().String()
}

// through returns a proxy and a connection through it.
func through(t *testing.T) (*Proxy, net.Conn) {
	t.Helper()
	p, err := StartProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return p, c
}

// roundTrip sends bytes, and returns how long they took there and back.
func roundTrip(t *testing.T, c net.Conn, n int) time.Duration {
	t.Helper()
	sent, got := bytes.Repeat([]byte("abc"), n/3+1)[:n], make([]byte, n)
	begin := time.Now()
	go func() { _, _ = c.Write(sent) }()
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("other bytes came")
	}
	return time.Since(begin)
}

func TestProxyPassesAll(t *testing.T) {
	p, c := through(t)
	roundTrip(t, c, 1<<20)
	p.Set(Fault{Slice: 7})
	roundTrip(t, c, 10_000)
	p.Set(Fault{Latency: 50 * time.Millisecond})
	if took := roundTrip(t, c, 100); took < 100*time.Millisecond {
		t.Errorf("there and back took %v, want 100 ms", took)
	}
	p.Set(Fault{Bandwidth: 100_000})
	if took := roundTrip(t, c, 20_000); took < 200*time.Millisecond {
		t.Errorf("20 kB at 100 kB/s took %v, want 200 ms", took)
	}
	p.Set(Fault{})
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v; want an orderly one", rest, err)
	}
}

// What a hole holds comes when it is over, in order and whole.
func TestProxyHolds(t *testing.T) {
	for _, f := range []Fault{{HoldUp: true}, {HoldDown: true}} {
		p, c := through(t)
		roundTrip(t, c, 10)
		p.Set(f)
		if _, err := c.Write([]byte("held")); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 10)); !errors.Is(err, syscall.ETIMEDOUT) && err == nil {
			t.Errorf("%+v: %d bytes came", f, n)
		}
		p.Set(Fault{})
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "held" {
			t.Errorf("%+v: %q, %v; want what was held", f, got, err)
		}
	}
}

func TestProxyResets(t *testing.T) {
	p, c := through(t)
	roundTrip(t, c, 10)
	p.Cut()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("cut: %v, want a reset", err)
	}
	p.Set(Fault{Refuse: true})
	refused, err := net.Dial("tcp", p.Addr())
	if err == nil {
		_, err = refused.Read(make([]byte, 1))
		_ = refused.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused: %v, want a reset", err)
	}
	p.Set(Fault{CutAfter: 5})
	cut, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cut.Close() }()
	if _, err := cut.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(cut)
	if len(got) > 5 || !errors.Is(err, syscall.ECONNRESET) { // a reset may overtake what came before
		t.Errorf("cut after 5 bytes: %q, %v; want 5 at most, and a reset", got, err)
	}
}
