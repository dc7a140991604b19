//go:build unix

package chaostest

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The server's methods. Each request begins with the number of its call.
const (
	unary  = "/chaos.Test/Unary"  // answers with the request
	list   = "/chaos.Test/List"   // listed messages: the call's number and the message's
	upload = "/chaos.Test/Upload" // answers with how many messages came
)

const listed = 5

// serverKey is the environment variable with a server's settings.
const serverKey = "ASTRA_CHAOSTEST_SERVER"

type settings struct {
	Addr       string // ":0": any port
	Journal    string // the file with the numbers of all calls that ran
	MaxAge     time.Duration
	MaxStreams uint32
}

// process is a server that runs as a process of its own.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Closer // the process ends when it is closed
	settings
}

func startServer(t *testing.T, s settings) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serverKey+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, in: in, settings: s}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.kill()
		t.Fatalf("the server did not begin: %v", err)
	}
	p.Addr = strings.TrimSpace(addr)
	t.Cleanup(p.kill)
	return p
}

// kill ends the process as a crash does. What is sent to a stopped one waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("signal %v: %v", s, err)
	}
}

// restart begins the server anew, under the same address, with other settings.
func (p *process) restart(change func(*settings)) *process {
	p.t.Helper()
	p.kill()
	s := p.settings
	if change != nil {
		change(&s)
	}
	return startServer(p.t, s)
}

// serve is the server's process.
func serve() {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv(serverKey)), &s); err != nil {
		panic(err)
	}
	journal, err := os.OpenFile(s.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	lis, err := listen(s.Addr)
	if err != nil {
		panic(err)
	}
	opts := []grpc.ServerOption{grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return handle(journal, stream) })}
	if s.MaxAge > 0 {
		opts = append(opts, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: s.MaxAge, MaxConnectionAgeGrace: time.Second}))
	}
	if s.MaxStreams > 0 {
		opts = append(opts, grpc.MaxConcurrentStreams(s.MaxStreams))
	}
	server := grpc.NewServer(opts...)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the test's process
		server.Stop()
	}()
	if _, err := os.Stdout.WriteString(lis.Addr().String() + "\n"); err != nil {
		panic(err)
	}
	_ = server.Serve(lis)
}

// listen waits for the address to be free, which a process that was killed may
// still hold for a moment.
func listen(addr string) (lis net.Listener, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	retry := time.NewTicker(5 * time.Millisecond)
	defer retry.Stop()
	for {
		if lis, err = net.Listen("tcp", addr); !errors.Is(err, syscall.EADDRINUSE) {
			return lis, err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

func handle(journal *os.File, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var in wrapperspb.BytesValue
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	id, _ := unpack(in.GetValue())
	// One write, which a kill does not divide.
	if _, err := journal.Write(binary.BigEndian.AppendUint64(nil, id)); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	switch method {
	case unary:
		return stream.SendMsg(&in)
	case list:
		for i := range listed {
			if err := stream.SendMsg(wrapperspb.Bytes(pack(id, uint64(i), len(in.GetValue())))); err != nil {
				return err
			}
		}
		return nil
	case upload:
		n := uint64(1)
		for ; ; n++ {
			err := stream.RecvMsg(&in)
			if errors.Is(err, io.EOF) {
				return stream.SendMsg(wrapperspb.Bytes(pack(id, n, 16)))
			}
			if err != nil {
				return err
			}
			if other, i := unpack(in.GetValue()); other != id || i != n {
				return status.Errorf(codes.DataLoss, "message %d of call %d came as message %d of call %d", i, other, n, id)
			}
		}
	}
	return status.Error(codes.Unimplemented, method)
}

// pack makes a message of so many bytes, 16 at least, that says whose it is.
func pack(id, n uint64, size int) []byte {
	b := make([]byte, max(size, 16))
	binary.BigEndian.PutUint64(b, id)
	binary.BigEndian.PutUint64(b[8:], n)
	for i := 16; i < len(b); i++ {
		b[i] = byte(id + n + uint64(i))
	}
	return b
}

func unpack(b []byte) (id, n uint64) {
	if len(b) < 16 {
		return 0, 0
	}
	return binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
}

// ran returns how often each call ran, by the journals of all servers.
func ran(t *testing.T, dir string) map[uint64]int {
	t.Helper()
	all := map[uint64]int{}
	paths, err := filepath.Glob(filepath.Join(dir, "journal*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no journals: %v", err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b)%8 != 0 {
			t.Fatal(fmt.Errorf("%s has %d bytes: want whole numbers", path, len(b)))
		}
		for ; len(b) > 0; b = b[8:] {
			all[binary.BigEndian.Uint64(b)]++
		}
	}
	return all
}
