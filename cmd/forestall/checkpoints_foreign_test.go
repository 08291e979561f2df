package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestForeignCommands(t *testing.T) {
	dir := t.TempDir()
	ledger := filepath.Join(dir, "ledger")
	step := func(name string) string {
		path := filepath.Join(dir, name)
		put(t, filepath.Join(path, "__0_0.distcp"), strings.Repeat("x", 3000))
		put(t, filepath.Join(path, ".metadata"), name)
		return path
	}
	first := step("step-1")
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(filepath.Join(first, ".metadata"), old, old); err != nil {
		t.Fatal(err)
	}
	f := func(args ...string) []string {
		return append(append([]string{"checkpoints", "foreign"}, args...), "--ledger", ledger)
	}
	if out := mustRun(t, f("register", first, "-w", "train-7", "--label", "first", "--hash")...); !strings.Contains(out, "dcp") || !strings.Contains(out, first) {
		t.Errorf("register prints\n%s", out)
	}
	mustRun(t, f("register", step("step-2"), "-w", "train-7")...)
	if out := mustRun(t, f("list")...); strings.Count(out, "train-7") != 2 {
		t.Errorf("list prints\n%s", out)
	}
	if out := mustRun(t, f("verify")...); strings.Count(out, "as registered") != 2 {
		t.Errorf("verify prints\n%s", out)
	}
	if out := mustRun(t, f("prune", "--older-than", "24h", "--keep", "1", "--data", "--dry-run")...); !strings.Contains(out, "would drop 1 entry") {
		t.Errorf("prune --dry-run prints\n%s", out)
	}
	mustRun(t, f("prune", "--older-than", "24h", "--keep", "1", "--data")...)
	if _, err := os.Stat(first); !os.IsNotExist(err) {
		t.Errorf("prune --data left %s: %v", first, err)
	}
	put(t, filepath.Join(dir, "step-2", "__0_0.distcp"), "short")
	status, out, _ := commandLine(f("verify")...)
	if status != 1 || !strings.Contains(out, "5 bytes, 3000 were registered") {
		t.Errorf("verify of a damaged one: status %d\n%s", status, out)
	}
}
