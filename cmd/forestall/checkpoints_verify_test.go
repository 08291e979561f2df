package main

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stratoswarm/forestall"
)

// TestCheckpointsCreateVerify: create --verify reads what it shares with earlier
// checkpoints, and writes anew what the disk has lost with no trace.
func TestCheckpointsCreateVerify(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	noise := make([]byte, 200_000)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(noise)
	put(t, filepath.Join(source, "f"), string(noise))
	create := []string{"checkpoints", "create", "w", "--store", store, "--source", source}
	mustRun(t, create...)
	packs, err := filepath.Glob(filepath.Join(store, "packs", "*"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("packs %v, %v; want one", packs, err)
	}
	b, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(packs[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, create...)
	if status, out, _ := commandLine("checkpoints", "verify", "--store", store, idsOf(t, "--store", store)[0]); status != 1 {
		t.Fatalf("the test damaged nothing that the next checkpoint uses: %s", out)
	}
	if status, _, stderr := commandLine(append(create, "--verify")...); status != 3 {
		t.Errorf("status %d, want 3 for damage met: %s", status, stderr)
	}
	mustRun(t, "checkpoints", "verify", "--store", store, idsOf(t, "--store", store)[0])
}

// What another program dropped or moved since verify opened the store is no damage;
// what is damaged still is.
func TestCheckpointsVerifyBesideDeletesAndGC(t *testing.T) {
	dir := t.TempDir()
	store, source := filepath.Join(dir, "store"), filepath.Join(dir, "state")
	noise := make([]byte, 300_000)
	rng := rand.NewChaCha8([32]byte{9})
	for range 3 {
		_, _ = rng.Read(noise)
		put(t, filepath.Join(source, "f"), string(noise))
		mustRun(t, "checkpoints", "create", "w", "--store", store, "--source", source)
	}
	ids := idsOf(t, "--store", store) // the newest first
	g := newGlobals(t.Context(), io.Discard, io.Discard)
	verify := checkpointsVerifyCmd{neededStore: neededStore{Store: store}}
	s, err := verify.open(g, reading)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	mustRun(t, "checkpoints", "delete", "--store", store, ids[2])
	mustRun(t, "checkpoints", "gc", "--store", store)
	if v := verify.judge(g, s, forestall.Checkpoint{ID: ids[2]}); !v.Dropped || v.Error != "" {
		t.Errorf("dropped meanwhile: %+v", v)
	}
	if v := verify.judge(g, s, forestall.Checkpoint{ID: ids[1]}); v.Dropped || v.Error != "" {
		t.Errorf("still there: %+v", v)
	}
	if err := os.RemoveAll(filepath.Join(store, "packs")); err != nil {
		t.Fatal(err)
	}
	if v := verify.judge(g, s, forestall.Checkpoint{ID: ids[0]}); v.Dropped || v.Error == "" {
		t.Errorf("damaged: %+v", v)
	}
	if g.damage.Load() != 0 {
		t.Errorf("%d damages counted", g.damage.Load())
	}
}
