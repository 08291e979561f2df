package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine describes where the figures were taken.
func machine() string {
	cpu := "unknown processor"
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s, %s %s", runtime.NumCPU(), cpu, runtime.GOOS, runtime.GOARCH)
}

// versions names the software.
func versions(p *peer) string {
	if p == nil {
		return fmt.Sprintf("%s; no XGBoost", runtime.Version())
	}
	return fmt.Sprintf("%s, XGBoost %s (Debian's python3-xgboost)", runtime.Version(), p.version)
}
