package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// TestCheckpointsFind: which checkpoint the beginning of an ID means.
func TestCheckpointsFind(t *testing.T) {
	all := []forestall.Checkpoint{{ID: "5fa03c" + strings.Repeat("0", 58), Workload: "a"}, {ID: "5fa0ff" + strings.Repeat("0", 58), Workload: "b"}}
	all = withDamaged(withDamaged(all, all[0].ID), "81b2"+strings.Repeat("0", 60))
	for _, tt := range []struct{ id, want string }{
		{"5FA03", "5fa03c000000 of a"},
		{"81b2", "81b200000000 (damaged)"},
		{"5fa0", "2 checkpoints that X holds begin with 5fa0: 5fa03c000000 of a, 5fa0ff000000 of b; give more digits"},
		{"train-7", `"train-7" is not an ID, which is hex digits such as 5fa03c`},
		{"5fa", "give at least 4 digits"},
		{"ffff", "of the 3 checkpoints that X holds none begins with ffff"},
	} {
		cp, err := byPrefix(all, tt.id, "X holds")
		got := named(cp)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s; want %q in it", tt.id, got, tt.want)
		}
	}
}

// TestCheckpointsLostManifest: a checkpoint of which the manifest is damaged is
// named, shown as far as it is known, and dropped.
func TestCheckpointsLostManifest(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "weights", "layer1"), strings.Repeat("w", 300_000))
	mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	id := idsOf(t, "--store", store)[1]

	var whole api.CheckpointDetail
	if err := json.Unmarshal([]byte(mustRun(t, "checkpoints", "show", id[:8], "--json", "--store", store)), &whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.States) != 1 || whole.States[0] != (api.CheckpointState{Name: "weights", Files: 1, Size: 300_000}) {
		t.Errorf("states %+v", whole.States)
	}
	if err := os.WriteFile(filepath.Join(store, "manifests", id), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, _ := commandLine("checkpoints", "show", id[:8], "--store", store)
	if status != 1 || !strings.Contains(out, "damaged") || !strings.Contains(out, id) {
		t.Errorf("show of a damaged one: status %d\n%s", status, out)
	}
	if out := mustRun(t, "checkpoints", "stats", "--store", store); !strings.Contains(out, "damaged   "+id[:12]) {
		t.Errorf("stats prints\n%s", out)
	}
	if status, _, stderr := commandLine("checkpoints", "gc", "--store", store); status != 1 || !strings.Contains(stderr, "delete it") {
		t.Errorf("gc with a damaged manifest: status %d: %s", status, stderr)
	}
	if out := mustRun(t, "checkpoints", "delete", id[:8], "--store", store); !strings.Contains(out, "dropped "+id[:12]+" (damaged), from") {
		t.Errorf("delete prints\n%s", out)
	}
	mustRun(t, "checkpoints", "gc", "--store", store)
}

// TestCheckpointsMended: damage to a store that a command meets, mended or not, is
// told in words, and the exit status is 3 although the command did its work.
func TestCheckpointsMended(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "state")
	put(t, filepath.Join(source, "f"), strings.Repeat("w", 300_000))
	store := func(name string) string {
		s := filepath.Join(dir, name)
		mustRun(t, "checkpoints", "create", "w", "--store", s, "--source", source)
		return s
	}
	spoil := func(path string) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		put(t, path, "rubbish")
	}
	for _, tt := range []struct {
		name string
		do   func(store string)
		read string // what is said when the store is read
		then int    // the status once a command has changed it
	}{
		{"marker", func(s string) { spoil(filepath.Join(s, "FORESTALL-CHECKPOINTS")) }, "is damaged or missing; it is written anew when the store is next changed", 0},
		{"no-marker", func(s string) { _ = os.Remove(filepath.Join(s, "FORESTALL-CHECKPOINTS")) }, "is damaged or missing; it is written anew", 0},
		{"catalogue", func(s string) { spoil(filepath.Join(s, "catalogue")) }, "the catalogue is damaged", 0},
		{"no-catalogue", func(s string) { _ = os.Remove(filepath.Join(s, "catalogue")) }, "the catalogue is missing", 0},
	} {
		s := store(tt.name)
		tt.do(s)
		status, out, stderr := commandLine("checkpoints", "list", "--store", s)
		if status != 3 || !strings.Contains(out, "  w ") || !strings.Contains(stderr, "forestall: "+s) || !strings.Contains(stderr, tt.read) {
			t.Errorf("%s: list: status %d: %s%s", tt.name, status, out, stderr)
		}
		if status, out, stderr = commandLine("checkpoints", "gc", "--store", s); status != 3 || !strings.Contains(out, "freed") || stderr == "" {
			t.Errorf("%s: gc: status %d: %s%s", tt.name, status, out, stderr)
		}
		if status, _, stderr = commandLine("checkpoints", "list", "--store", s); status != tt.then || stderr != "" {
			t.Errorf("%s: list once it is mended: status %d: %s", tt.name, status, stderr)
		}
	}

	s := store("manifest")
	id := idsOf(t, "--store", s)[0]
	spoil(filepath.Join(s, "manifests", id))
	if status, out, stderr := commandLine("checkpoints", "list", "--store", s); status != 3 || !strings.Contains(out, "holds none") || !strings.Contains(stderr, id) {
		t.Errorf("list beside a damaged manifest: status %d: %s%s", status, out, stderr)
	}
	mustRun(t, "checkpoints", "delete", id, "--store", s)
	mustRun(t, "checkpoints", "list", "--store", s)
	for name, want := range map[string]string{"nothing": "there is no directory", "state": "has no FORESTALL-CHECKPOINTS"} {
		if status, _, stderr := commandLine("checkpoints", "list", "--store", filepath.Join(dir, name)); status != 1 || !strings.Contains(stderr, want) || gone(filepath.Join(dir, "state")) || !gone(filepath.Join(dir, "nothing")) {
			t.Errorf("list of %s: status %d: %s", name, status, stderr)
		}
	}
}
