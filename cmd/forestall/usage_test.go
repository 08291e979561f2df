package main

import (
	"strings"
	"testing"
)

// Of flags that exclude each other the help asks for one.
func TestUsageOfExclusiveFlags(t *testing.T) {
	for command, want := range map[string]string{
		"train":    "Usage: forestall train (--table=FILE | --telemetry=PATH | --prometheus=URL) --out=DIR [flags]",
		"backtest": "Usage: forestall backtest --model=DIR (--telemetry=PATH | --prometheus=URL)",
		"evaluate": "Usage: forestall evaluate --model=",
	} {
		got, _, _ := strings.Cut(runs(t, command, "--help"), "\n")
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s --help begins with\n%s\nwant\n%s", command, got, want)
		}
	}
}
