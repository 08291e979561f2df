package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// commandLine runs a command line and returns its status and what it wrote.
func commandLine(args ...string) (status int, out, err string) {
	var o, e bytes.Buffer
	status = run(args, &o, &e)
	return status, o.String(), e.String()
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	status, out, err := commandLine(args...)
	if status != 0 {
		t.Fatalf("forestall %s: status %d: %s", strings.Join(args, " "), status, err)
	}
	return out
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// idsOf lists a store by the command.
func idsOf(t *testing.T, args ...string) (ids []string) {
	t.Helper()
	var all []forestall.Checkpoint
	if err := json.Unmarshal([]byte(mustRun(t, append([]string{"checkpoints", "list", "--json"}, args...)...)), &all); err != nil {
		t.Fatal(err)
	}
	for _, cp := range all {
		ids = append(ids, cp.ID)
	}
	return ids
}

// TestCheckpointsOffline walks through the life of checkpoints in a directory
// without an engine.
func TestCheckpointsOffline(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "weights", "layer1"), strings.Repeat("w", 300_000))
	put(t, filepath.Join(source, "notes"), "one")
	mustRun(t, "checkpoints", "create", "train-7", "--store", store, "--source", source, "--label", "before the upgrade")
	put(t, filepath.Join(source, "notes"), "two, longer")
	put(t, filepath.Join(source, "new"), "")
	mustRun(t, "checkpoints", "create", "train-7", "--store", store, "--source", source)

	ids := idsOf(t, "--store", store)
	if len(ids) != 2 {
		t.Fatalf("%d checkpoints are listed, want 2", len(ids))
	}
	second, first := ids[0], ids[1]
	if got := idsOf(t, "--store", store, "--label", "before*"); !cmp.Equal(got, []string{first}) {
		t.Errorf("--label lists %v, want the first", got)
	}
	if got := idsOf(t, "--store", store, "--until", "1h"); len(got) != 0 {
		t.Errorf("--until 1h lists %v, want none: they are younger", got)
	}
	for _, tt := range []struct {
		args string
		want string
	}{
		{"checkpoints show " + first[:8] + " --store " + store, "label     before the upgrade"},
		{"checkpoints show " + first[:8] + " --store " + store, "weights"},
		{"checkpoints diff " + first[:8] + " " + second[:8] + " --store " + store, "+ new\n~ notes\n"},
		{"checkpoints diff " + first + " " + second + " --json --store " + store, `"new_bytes": 11`},
		{"checkpoints verify --store " + store, "whole"},
		{"checkpoints stats --store " + store, "2 checkpoints of 1 workload"},
		{"checkpoints gc --dry-run --store " + store, "0 B are needed by no checkpoint"},
		{"checkpoints gc --store " + store, "freed."},
	} {
		if out := mustRun(t, strings.Fields(tt.args)...); !strings.Contains(out, tt.want) {
			t.Errorf("%s: printed\n%s\nwant %q in it", tt.args, out, tt.want)
		}
	}

	// Restore: dry run, then one state, then all, then by time.
	target := filepath.Join(dir, "back")
	put(t, filepath.Join(target, "notes"), "mine")
	put(t, filepath.Join(target, "weights", "extra"), "x")
	out := mustRun(t, "restore", first[:6], "--store", store, "--to", target, "--dry-run")
	if !strings.Contains(out, "+ weights/layer1\n~ notes\n- weights/extra\n") {
		t.Errorf("dry run prints\n%s", out)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(target, name))
		if err != nil {
			return "absent"
		}
		return string(b)
	}
	if read("notes") != "mine" || read("weights/extra") != "x" {
		t.Error("the dry run has changed the target")
	}
	mustRun(t, "restore", first, "--state", "weights", "--store", store, "--to", target)
	if read("notes") != "mine" || read("weights/extra") != "absent" || len(read("weights/layer1")) != 300_000 {
		t.Error("--state weights did not restore weights alone")
	}
	out = mustRun(t, "restore", "--workload", "train-7", "--label", "before*", "--store", store, "--to", target)
	if read("notes") != "one" || !strings.Contains(out, "verified") {
		t.Errorf("by label: notes are %q; printed %s", read("notes"), out)
	}
	mustRun(t, "restore", "--store", store, "--to", target)
	if read("notes") != "two, longer" {
		t.Errorf("the newest: notes are %q", read("notes"))
	}

	// To a file, into another store, and there.
	file, other := filepath.Join(dir, "carried"), filepath.Join(dir, "other")
	mustRun(t, "checkpoints", "export", first, "--to", file, "--store", store)
	mustRun(t, "checkpoints", "import", file, "--store", other)
	mustRun(t, "checkpoints", "export", second, "--to", other, "--store", store)
	if got := idsOf(t, "--store", other); !cmp.Equal(got, ids) {
		t.Errorf("the other store lists %v, want %v", got, ids)
	}
	mustRun(t, "checkpoints", "verify", "--store", other)

	if out := mustRun(t, "checkpoints", "delete", first[:8], "--dry-run", "--store", store); !strings.Contains(out, "would drop "+first[:12]) || len(idsOf(t, "--store", store)) != 2 {
		t.Errorf("delete --dry-run: %s", out)
	}
	mustRun(t, "checkpoints", "delete", first[:8], "--store", store)
	if got := idsOf(t, "--store", store); !cmp.Equal(got, []string{second}) {
		t.Errorf("after delete: %v", got)
	}
}

// TestCheckpointsInUse: a store whose engine runs can be read, not changed.
func TestCheckpointsInUse(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "f"), "x")
	mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	d, err := checkpoint.OpenDir(store, checkpoint.DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	id := idsOf(t, "--store", store)[0]
	mustRun(t, "restore", "--store", store, "--to", filepath.Join(dir, "back"))
	status, _, stderr := commandLine("checkpoints", "delete", id, "--store", store)
	if status != 1 || !strings.Contains(stderr, "leave --store out") {
		t.Errorf("delete in use: status %d: %s", status, stderr)
	}
}

// TestCheckpointsDamaged: verify tells which checkpoint is not whole.
func TestCheckpointsDamaged(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "f"), strings.Repeat("x", 100_000))
	mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	packs, err := filepath.Glob(filepath.Join(store, "packs", "*"))
	if err != nil || len(packs) == 0 {
		t.Fatal(packs, err)
	}
	f, err := os.OpenFile(packs[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[70] ^ 1}, 70); err != nil {
		t.Fatal(err)
	}
	f.Close()
	status, out, _ := commandLine("checkpoints", "verify", "--store", store)
	if status != 1 || !strings.Contains(out, "1 of 1 checkpoint cannot be restored") {
		t.Errorf("verify of a damaged store: status %d\n%s", status, out)
	}
	target := filepath.Join(dir, "back")
	if status, _, stderr := commandLine("restore", "--store", store, "--to", target); status != 1 || !strings.Contains(stderr, "corrupt") {
		t.Errorf("restore of a damaged checkpoint: status %d: %s", status, stderr)
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a damaged checkpoint was restored")
	}
}

func TestCheckpointsMistakes(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	put(t, filepath.Join(source, "f"), "x")
	for _, w := range []string{"a", "b"} {
		mustRun(t, "checkpoints", "create", w, "--store", store, "--source", source)
	}
	for _, tt := range []struct{ args, want string }{
		{"checkpoints list --store " + dir + "/nothing", "not a checkpoint store"},
		{"checkpoints show ab --store " + store, "at least 4 digits"},
		{"checkpoints show ffff0000ffff --store " + store, "none begins with ffff0000ffff"},
		{"restore --store " + store + " --to " + dir + "/t", "checkpoints of a, b; name one with --workload"},
		{"restore --workload c --store " + store + " --to " + dir + "/t", "has none that the flags choose"},
		{"checkpoints list --since yesterday --store " + store, "an age such as 2h"},
		{"checkpoints list --label [ --store " + store, "syntax error in pattern"},
		{"checkpoints create w --source " + source, "--source needs --store"},
		{"checkpoints create w --store " + store, "--store needs --source"},
		{"checkpoints import " + source + "/f --store " + store, "corrupt checkpoint data"},
		{"checkpoints list --store s3://", "is not of the form s3://BUCKET/PREFIX"},
	} {
		status, _, stderr := commandLine(strings.Fields(tt.args)...)
		if status != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: status %d: %s; want %q in it", tt.args, status, stderr, tt.want)
		}
	}
}

// TestCheckpointsEncrypted: pins, and a store that is sealed with a keyring.
func TestCheckpointsEncrypted(t *testing.T) {
	dir := t.TempDir()
	store, source, ring, id := filepath.Join(dir, "store"), filepath.Join(dir, "state"), filepath.Join(dir, "ring"), filepath.Join(dir, "id")
	put(t, filepath.Join(source, "f"), "secret state")
	recipient := strings.TrimSpace(mustRun(t, "keyring", "identity", "--out", id))
	mustRun(t, "keyring", "new", "--out", ring, "--recipient", recipient)
	sealed := func(args ...string) []string {
		return append(args, "--store", store, "--keyring", ring, "--identity", id)
	}
	mustRun(t, sealed("checkpoints", "create", "w", "--source", source)...)
	var all []forestall.Checkpoint
	if err := json.Unmarshal([]byte(mustRun(t, sealed("checkpoints", "list", "--json")...)), &all); err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if status, _, stderr := commandLine("restore", "--store", store, "--to", filepath.Join(dir, "no")); status != 1 || !strings.Contains(stderr, "give --keyring and --identity") {
		t.Errorf("restore without a key: status %d: %s", status, stderr)
	}
	target := filepath.Join(dir, "back")
	mustRun(t, sealed("restore", "--to", target)...)
	if b, err := os.ReadFile(filepath.Join(target, "f")); err != nil || string(b) != "secret state" {
		t.Errorf("restored %q, %v", b, err)
	}
	mustRun(t, sealed("checkpoints", "pin", all[0].ID[:8])...)
	if status, _, _ := commandLine(sealed("checkpoints", "delete", all[0].ID)...); status == 0 {
		t.Error("a pinned checkpoint was deleted")
	}
	mustRun(t, sealed("checkpoints", "unpin", all[0].ID)...)
	mustRun(t, sealed("checkpoints", "delete", all[0].ID)...)
}
