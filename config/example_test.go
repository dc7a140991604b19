package config_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
)

const policies = `
methodConfig:
- name: [{service: helloworld.Greeter}]
  timeout: 2s
  astra:
    retry: {maxAttempts: 4, backoff: {base: 50ms}}
`

// file writes a document into a folder that the example removes.
func file(text string) (path string, remove func()) {
	dir, err := os.MkdirTemp("", "astra")
	if err != nil {
		log.Fatal(err)
	}
	path = filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
	return path, func() { _ = os.RemoveAll(dir) }
}

// The policies of a document, from wherever it comes.
func ExampleParse() {
	opts, err := config.Parse([]byte(policies))
	if err != nil {
		log.Fatal(err) // every fault, a line each
	}
	suite, err := interceptors.New(opts...)
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	_, err = config.Parse([]byte("methodConfig: [{name: [{}], astra: {braker: {}, retry: {maxAttempts: 0}}}]"))
	fmt.Println(err)
	// Output:
	// line 1, column 37: methodConfig[0].astra.braker: is unknown: did you mean breaker?
	// line 1, column 70: methodConfig[0].astra.retry.maxAttempts: 0 is out of range: want from 1 to 100
}

// The policies of a file, read once.
func ExampleLoad() {
	path, remove := file(policies)
	defer remove()

	opts, err := config.Load(path)
	if err != nil {
		log.Fatal(err) // every fault, a line each
	}
	suite, err := interceptors.New(opts...)
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	fmt.Println("generation", suite.Revision().Generation)
	// Output: generation 1
}

// The policies of a file, now and whenever it changes.
func ExampleWatch() {
	path, remove := file(policies)
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	m := metrics.New()

	suite, err := interceptors.New(interceptors.WithObserver(m))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	if err := config.Watch(ctx, path, suite); err != nil {
		log.Fatal(err) // every fault of the file, a line each
	}

	fmt.Println("generation", suite.Revision().Generation)
	// Output: generation 2
}

// A document can be looked at before it is used.
func ExampleDecode() {
	d, err := config.Decode([]byte(policies + "  waitForReady: true\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Policies()["/helloworld.Greeter/*"].Retry.MaxAttempts)
	for _, w := range d.Warnings() {
		fmt.Println(w.Key)
	}
	// Output:
	// 4
	// methodConfig[0].waitForReady
}

// A file can be looked at before it is deployed.
func ExampleDecodeFile() {
	path, remove := file(policies)
	defer remove()

	d, err := config.DecodeFile(path)
	if err != nil {
		log.Fatal(err)
	}
	suite, err := interceptors.New(d.Options()...)
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	fmt.Println(len(d.Warnings()), "warnings")
	// Output: 0 warnings
}

// Editors complete and check policy files by the schema.
func ExampleSchema() {
	fmt.Println(json.Valid(config.Schema()))
	// Output: true
}

// The file's chaos object injects faults, where the program consents to it.
func ExampleWithChaos() {
	path, remove := file(policies + "chaos: {for: 10m, faults: [{method: /search.Search/*, kind: status, share: 0.1, code: UNAVAILABLE}]}\n")
	defer remove()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	registry, target := prometheus.NewRegistry(), "dns:///search.internal:443"
	consent := chaos.WithConsent // in staging alone
	suite, err := interceptors.New(interceptors.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	injector, err := chaos.New(consent())
	if err != nil {
		log.Fatal(err)
	}
	registry.MustRegister(metrics.NewChaos(injector))
	opts := append(suite.DialOptions(), injector.DialOptions()...) // after the suite's: faults meet attempts
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := config.Watch(ctx, path, suite, config.WithChaos(injector)); err != nil {
		log.Fatal(err)
	}

	fmt.Println(injector.Active())
	injector.Stop()
	// Output: true
}

// Format writes a policy as an entry of a policy file.
func ExampleFormat() {
	fmt.Print(config.Format("/shop.Orders/Get", interceptors.Policy{
		Retry:          interceptors.Retry{MaxAttempts: 4},
		AttemptTimeout: 300 * time.Millisecond,
	}))
	// Output:
	// - name: [{service: "shop.Orders", method: "Get"}]
	//   astra:
	//     retry:
	//       maxAttempts: 4
	//     attemptTimeout: 300ms
}
