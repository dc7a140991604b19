package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/astra-grpc/astra/interceptors"
)

// Load is [Parse] for a file. Its faults name the file. A file that cannot be
// read is a fault, too.
func Load(path string) ([]interceptors.Option, error) {
	return optionsOf(DecodeFile(path))
}

// DecodeFile is [Decode] for a file.
func DecodeFile(path string) (*Document, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return decode(data, path)
}

// read returns what a file holds, and of one that is too large enough to see
// that. Its error joins a fault, as all of ours do.
func read(path string) ([]byte, error) {
	fault := func(err error) error {
		if pe, ok := err.(*fs.PathError); ok { //nolint:errorlint // os wraps nothing around it
			err = pe.Err
		}
		return errors.Join(&Fault{File: path, Problem: "cannot be read: " + err.Error(), Rule: ruleInvalid, cause: err})
	}
	// Looked at first: to open a pipe may take for ever.
	if info, err := os.Stat(path); err != nil {
		return nil, fault(err)
	} else if !info.Mode().IsRegular() {
		return nil, errors.Join(&Fault{File: path, Problem: fmt.Sprintf("is not a regular file (mode %v): want a regular file", info.Mode()), Rule: ruleInvalid})
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault(err)
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, fault(err)
	}
	return data, nil
}
