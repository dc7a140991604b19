package etcd

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// dirEnv makes of the test binary a server of etcd: a process of its own can be
// killed and stopped.
const (
	dirEnv  = "ASTRA_ETCD_DIR"
	addrEnv = "ASTRA_ETCD_ADDR"
)

// serve runs a server of etcd until the process is killed.
func serve(dir, addr string) error {
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.LogLevel = "error"
	cfg.UnsafeNoFsync = true // the machine stays up
	cfg.TickMs, cfg.ElectionMs = 50, 500
	at := []url.URL{{Scheme: "http", Host: addr}}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at, at
	peer := []url.URL{{Scheme: "unix", Host: "peer.sock:0"}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.InitialCluster = cfg.Name + "=" + peer[0].String()
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	return <-e.Err()
}

// server is a server of etcd in a process of its own.
type server struct {
	t    testing.TB
	addr string
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
}

// start starts a server. It ends with the test.
func start(t testing.TB) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, addr: l.Addr().String(), dir: t.TempDir()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s.run()
	t.Cleanup(s.kill)
	c := s.client(s.addr)
	if _, err := c.Put(t.Context(), "ready", ""); err != nil {
		t.Fatalf("the server of etcd does not answer: %v", err)
	}
	return s
}

func (s *server) run() {
	self, err := os.Executable()
	if err != nil {
		s.t.Error(err)
		return
	}
	s.cmd = exec.Command(self)
	s.cmd.Dir = s.dir
	s.cmd.Env = append(os.Environ(), dirEnv+"="+s.dir, addrEnv+"="+s.addr)
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Error(err)
		return
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // killed
		close(done)
	}(s.cmd, s.done)
}

// kill ends the process as a crash does.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// restart kills the server, and starts it again on its data.
func (s *server) restart() {
	s.kill()
	s.run()
}

// stop makes the server hang for d: its connections stay.
func (s *server) stop(d time.Duration) {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Error(err)
	}
	<-time.After(d)
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Error(err)
	}
}

// client returns a client of addr, the server's or a proxy's before it.
func (s *server) client(addr string, more ...grpc.DialOption) *clientv3.Client {
	s.t.Helper()
	return s.clientOf([]string{addr}, more...)
}

// clientOf returns a client of several endpoints, which it asks in turn.
func (s *server) clientOf(endpoints []string, more ...grpc.DialOption) *clientv3.Client {
	s.t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 10 * time.Second, DialOptions: more, Logger: zap.NewNop()})
	if err != nil {
		s.t.Fatal(fmt.Errorf("client of etcd: %w", err))
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}
