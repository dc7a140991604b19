// Package bigtable holds the rows of Cloud Bigtable's client and its fake.
package bigtable

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"cloud.google.com/go/bigtable"
	"cloud.google.com/go/bigtable/bttest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/integration/lab"
)

const (
	client  = "Bigtable"
	service = "/google.bigtable.v2.Bigtable/"
	family  = "f"
	column  = "n"
	scanned = 200 // rows of a scan
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, client)) }

func TestCut(t *testing.T) {
	t.Parallel()
	lab.Compare(t, client, "connection cut every 1.5 s", 9*time.Second, func(t testing.TB, x *lab.Experiment) func() {
		finish := load(t, x)
		x.Cut(1500*time.Millisecond, 200*time.Millisecond)
		return finish
	})
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	lab.Compare(t, client, "connections refused for .7 s of every 3 s", 9*time.Second, func(t testing.TB, x *lab.Experiment) func() {
		finish := load(t, x)
		x.Refuse(t, 3*time.Second, 700*time.Millisecond)
		return finish
	})
}

// load begins increments, conditional writes and scans by both sides, each in a
// table of its own.
func load(t testing.TB, x *lab.Experiment) (finish func()) {
	t.Helper()
	server, err := bttest.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	sides := lab.Both(x, func(s *lab.Side) *side { return newSide(t, s, server.Addr) })
	x.Load(25, func(s *lab.Side, i int) { sides[s].increment(i) })
	x.Load(25, func(s *lab.Side, i int) { sides[s].create(i) })
	x.Load(5, func(s *lab.Side, _ int) { sides[s].scan() })
	return func() { x.Each(func(s *lab.Side) { sides[s].count(t, server.Addr) }) }
}

// side is a client of the fake, with a table of its own.
type side struct {
	name                         string
	table                        *bigtable.Table
	increments, creations, scans *lab.Record
}

func options(addr string, more ...grpc.DialOption) []option.ClientOption {
	opts := []option.ClientOption{
		option.WithEndpoint(addr), option.WithoutAuthentication(), option.WithGRPCConnectionPool(1),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
	for _, o := range more {
		opts = append(opts, option.WithGRPCDialOption(o))
	}
	return opts
}

// newSide creates the side's table, fills what will be scanned, and opens it
// through a proxy.
func newSide(t testing.TB, s *lab.Side, server string) *side {
	t.Helper()
	admin, err := bigtable.NewAdminClient(t.Context(), "p", "i", options(server)...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close() }()
	if err := admin.CreateTable(t.Context(), s.Name); err != nil {
		t.Fatal(err)
	}
	if err := admin.CreateColumnFamily(t.Context(), s.Name, family); err != nil {
		t.Fatal(err)
	}
	direct := open(t, server).Open(s.Name)
	for i := range scanned {
		m := bigtable.NewMutation()
		m.Set(family, column, 0, make([]byte, 100))
		if err := direct.Apply(t.Context(), fmt.Sprintf("scan-%04d", i), m); err != nil {
			t.Fatal(err)
		}
	}
	p := s.Proxy(t, server)
	own := &side{
		name:       s.Name,
		table:      open(t, p.Addr, s.DialOptions()...).Open(s.Name),
		increments: s.Record("ReadModifyWrite: increments", p, service+"ReadModifyWriteRow"),
		creations:  s.Record("CheckAndMutate: created if absent", p, service+"CheckAndMutateRow"),
		scans:      s.Record(fmt.Sprintf("ReadRows: scans of %d rows", scanned), p, service+"ReadRows"),
	}
	if _, err := own.table.ReadRow(t.Context(), "scan-0000"); err != nil { // the first call dials
		t.Fatal(err)
	}
	return own
}

func open(t testing.TB, addr string, more ...grpc.DialOption) *bigtable.Client {
	t.Helper()
	c, err := bigtable.NewClientWithConfig(t.Context(), "p", "i", bigtable.ClientConfig{MetricsProvider: bigtable.NoopMetricsProvider{}}, options(addr, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func (s *side) increment(i int) {
	ctx, cancel := within(5 * time.Second)
	defer cancel()
	one := bigtable.NewReadModifyWrite()
	one.Increment(family, column, 1)
	_ = s.increments.Do(func() error {
		_, err := s.table.ApplyReadModifyWrite(ctx, fmt.Sprintf("increment-%06d", i), one)
		return err
	})
}

// count finds the increments that were done more than once.
func (s *side) count(t testing.TB, server string) {
	t.Helper()
	ctx, cancel := within(time.Minute)
	defer cancel()
	err := open(t, server).Open(s.name).ReadRows(ctx, bigtable.PrefixRange("increment-"), func(r bigtable.Row) bool {
		if n := r[family][0].Value[7]; n > 1 {
			s.increments.Duplicate(int(n) - 1)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

// create writes a row that nobody else writes, if it is not there. To hear that it
// is there means that the write was done twice.
func (s *side) create(i int) {
	ctx, cancel := within(5 * time.Second)
	defer cancel()
	set := bigtable.NewMutation()
	set.Set(family, column, 0, []byte{1})
	there := false
	err := s.creations.Do(func() error {
		return s.table.Apply(ctx, fmt.Sprintf("create-%06d", i), bigtable.NewCondMutation(bigtable.LatestNFilter(1), nil, set), bigtable.GetCondMutationResult(&there))
	})
	if err == nil && there {
		s.creations.Duplicate(1)
	}
}

// scan reads all rows. One that is missing is an error, one that comes twice a
// duplicate.
func (s *side) scan() {
	ctx, cancel := within(10 * time.Second)
	defer cancel()
	next := 0
	_ = s.scans.Do(func() error {
		err := s.table.ReadRows(ctx, bigtable.PrefixRange("scan-"), func(r bigtable.Row) bool {
			switch want := fmt.Sprintf("scan-%04d", next); {
			case r.Key() < want:
				s.scans.Duplicate(1)
			case r.Key() == want:
				next++
			}
			return true
		})
		if err == nil && next != scanned {
			return fmt.Errorf("%d rows of %d came", next, scanned)
		}
		return err
	})
}
