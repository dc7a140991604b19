package etcd

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.etcd.io/etcd/api/v3/etcdserverpb/gw"

	"github.com/astra-grpc/astra/integration/lab"
)

// gateway writes over HTTP, through the handlers of grpc-gateway that etcd has,
// before a connection of the side.
func gateway(t testing.TB, x *lab.Experiment, clients sides, patience time.Duration) (finish func()) {
	records := clients.records(x, "grpc-gateway: POST /v3/kv/put", kvService+"Put")
	urls := lab.Both(x, func(side *lab.Side) string {
		mux := runtime.NewServeMux()
		if err := gw.RegisterKVHandler(t.Context(), mux, clients[side].ActiveConnection()); err != nil {
			t.Fatal(err)
		}
		front := httptest.NewServer(mux)
		t.Cleanup(front.Close)
		return front.URL
	})
	x.Load(20, func(side *lab.Side, i int) {
		ctx, cancel := within(patience)
		defer cancel()
		_ = records[side].Do(func() error {
			return post(ctx, urls[side]+"/v3/kv/put", fmt.Sprintf("%s/gateway/%d", side.Dir, i))
		})
	})
	return func() {}
}

func post(ctx context.Context, url, key string) error {
	body := fmt.Sprintf(`{"key": %q, "value": ""}`, base64.StdEncoding.EncodeToString([]byte(key)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	return err
}
