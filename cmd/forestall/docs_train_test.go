package main

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestFromRecordingToModel: the way that docs/train.md shows can be gone, up to where it
// needs an engine, and gives what the document says.
func TestFromRecordingToModel(t *testing.T) {
	_, section, _ := strings.Cut(read(t, "docs", "train.md"), "### From a recording to the model in force")
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	block = strings.ReplaceAll(block, "\\\n", " ")
	dir := t.TempDir()
	said, commands := map[string]string{}, 0
	for line := range strings.Lines(block) {
		args := strings.Fields(line)
		if len(args) < 2 || args[0] != "forestall" || args[1] == "model" {
			continue
		}
		for i, arg := range args {
			switch {
			case strings.HasPrefix(arg, "testdata/"):
				args[i] = filepath.Join(top, arg)
			case arg == "models/gpu" || arg == "gpu.html":
				args[i] = filepath.Join(dir, arg)
			}
		}
		said[args[1]] = runs(t, args[1:]...)
		commands++
	}
	if commands != 3 {
		t.Fatalf("%d commands", commands)
	}
	caught := regexp.MustCompile(`(?m)^listed .* (\d of \d) `).FindStringSubmatch(said["backtest"])
	if caught == nil || !strings.Contains(block, caught[1]+" incidents are caught") {
		t.Errorf("the document does not have what the backtest gives, %q:\n%s", caught, said["backtest"])
	}
	if strings.Contains(said["backtest"], "It was trained on telemetry") {
		t.Errorf("a backtest that begins where the training ends is taken for one of what was trained on:\n%s", said["backtest"])
	}
}
