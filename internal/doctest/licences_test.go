package doctest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// licences are those that the module's dependencies may have, by words of their
// texts: all permit what Apache-2.0 does.
var licences = map[string]string{
	"Apache-2.0": "Apache License",
	"MIT":        "Permission is hereby granted, free of charge",
	"BSD":        "Redistribution and use in source and binary forms",
	"ISC":        "Permission to use, copy, modify, and",
}

// TestLicencesOfDependencies: every module that is linked into a program which
// imports this one has a licence that permits it.
func TestLicencesOfDependencies(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for line := range strings.Lines(string(out)) {
		module, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || seen[module] != "" {
			continue
		}
		seen[module] = licenceOf(t, dir)
		if seen[module] == "" {
			t.Errorf("%s has none of the licences that are known: read it, and add it here if it permits what Apache-2.0 does", module)
		}
	}
	if len(seen) < 10 {
		t.Errorf("only %v seen: the test looks in the wrong place", seen)
	}
	t.Log(seen)
}

func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "LICEN[CS]E*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, words := range licences {
			if strings.Contains(string(text), words) {
				return name
			}
		}
	}
	return ""
}
