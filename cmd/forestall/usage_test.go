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

// What is wrong with a command line names the command whose help tells more.
func TestUsageOfWhat(t *testing.T) {
	for args, want := range map[string]string{
		"train --nope":                        "forestall train: unknown flag --nope",
		"checkpoints list --nope":             "forestall checkpoints list: unknown flag --nope",
		"predict --model m":                   "forestall predict: missing flags: --table=FILE",
		"telemetry export x --from yesterday": `forestall telemetry export: --from: "yesterday": write it as 2026-11-26T09:00:00Z`,
		"trian":                               `forestall: unexpected argument trian, did you mean "train"?`,
	} {
		_, got := forestallRun(t, 2, strings.Fields(args)...)
		name, _, _ := strings.Cut(want, ":")
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\nTry '"+name+" --help'.\n") {
			t.Errorf("%s: %q, want %q and where there is help", args, got, want)
		}
	}
}
