package state_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/state"
)

// Breakers that are open stay so past a restart. A file is one process's.
func ExampleFile() {
	dir, err := os.MkdirTemp("", "astra")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "astra.state")

	store, err := state.File(path)
	if err != nil {
		log.Fatal(err) // the path is not usable, or another process has the file
	}
	suite, err := interceptors.New(interceptors.WithStore(store))
	if err != nil {
		log.Fatal(err)
	}

	_, err = state.File(path)
	fmt.Println("a second store of the same file:", err != nil)
	err = suite.Close() // saves
	_, missing := os.Stat(path)
	fmt.Println(err, missing)
	// Output:
	// a second store of the same file: true
	// <nil> <nil>
}
