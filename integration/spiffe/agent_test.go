package spiffe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/integration/lab"
)

const (
	trustDomain = "spiffe://example.org"
	id          = trustDomain + "/workload"
)

// agent is a SPIFFE agent whose bundle changes. Each version's authority has the
// version as its serial number.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	key     *ecdsa.PrivateKey
	fetches lab.Failing // one in so many ends UNAVAILABLE
	svid    *workload.X509SVIDResponse

	mu      sync.Mutex
	version int64
	created map[int64]time.Time
	bundles *workload.X509BundlesResponse
	changed chan struct{} // closed when there is another version
}

func newAgent(t testing.TB, failing uint64) *agent {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{key: key, fetches: lab.Failing{OneIn: failing}, created: map[int64]time.Time{}, changed: make(chan struct{})}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	a.svid = &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
		SpiffeId: id, X509Svid: a.certificate(t, 1, id, false), X509SvidKey: pkcs8, Bundle: a.certificate(t, 1, trustDomain, true),
	}}}
	a.rotate(t)
	return a
}

func (a *agent) certificate(t testing.TB, serial int64, uri string, authority bool) []byte {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	usage := x509.KeyUsageDigitalSignature
	if authority {
		usage = x509.KeyUsageCertSign
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), URIs: []*url.URL{u}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: authority, BasicConstraintsValid: true, KeyUsage: usage,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// serve returns the address at which the agent serves until the test ends.
func (a *agent) serve(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(s, a)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// rotate makes another version of the bundle.
func (a *agent) rotate(t testing.TB) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.version++
	a.created[a.version] = time.Now()
	a.bundles = &workload.X509BundlesResponse{Bundles: map[string][]byte{trustDomain: a.certificate(t, a.version, trustDomain, true)}}
	close(a.changed)
	a.changed = make(chan struct{})
}

// FetchX509SVID sends the SVID, and stays open for the next as agents do.
func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, s workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	if err := a.fetches.Next(s.Context()); err != nil {
		return err
	}
	if err := s.Send(a.svid); err != nil {
		return err
	}
	<-s.Context().Done()
	return s.Context().Err()
}

// FetchX509Bundles sends the bundle, and each later version.
func (a *agent) FetchX509Bundles(_ *workload.X509BundlesRequest, s workload.SpiffeWorkloadAPI_FetchX509BundlesServer) error {
	for {
		a.mu.Lock()
		bundles, changed := a.bundles, a.changed
		a.mu.Unlock()
		if err := s.Send(bundles); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}
