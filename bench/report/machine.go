package report

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// Machine is what a report was made on and of.
type Machine struct {
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	CPU     string   `json:"cpu"`
	Cores   int      `json:"cores"`
	Memory  float64  `json:"memoryGiB,omitempty"`
	Go      string   `json:"go"`
	Modules []Module `json:"modules"`
}

// Module is one that is linked in.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// ThisMachine describes the one that the program runs on.
func ThisMachine() Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	m.CPU = cmp.Or(field("/proc/cpuinfo", "model name"), "unknown")
	var kib float64
	if _, err := fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%f", &kib); err == nil {
		m.Memory = kib / (1 << 20)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			v := d.Version
			if d.Replace != nil {
				v = cmp.Or(d.Replace.Version, "this tree")
			}
			m.Modules = append(m.Modules, Module{d.Path, v})
		}
		slices.SortFunc(m.Modules, func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	}
	return m
}

// field returns a line's value in a file of "key : value" lines, "" without.
func field(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return "" // not Linux
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// String is the machine in a line.
func (m Machine) String() string {
	s := fmt.Sprintf("%s, %d cores", m.CPU, m.Cores)
	if m.Memory > 0 {
		s += fmt.Sprintf(", %.0f GiB", m.Memory)
	}
	return fmt.Sprintf("%s, %s/%s, %s", s, m.OS, m.Arch, m.Go)
}
