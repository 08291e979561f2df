package foreign

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A tree may hold distributed checkpoints below, each with its index.
func TestCheckpointsBelow(t *testing.T) {
	ctx, l, dir := context.Background(), open(t), filepath.Join(t.TempDir(), "step1")
	weights := dcp(t, filepath.Join(dir, "weights"), time.Hour)
	e, err := l.Register(ctx, Registration{Workload: "w", Path: dir})
	if err != nil || e.Kind != Tree || len(e.Files) != 4 {
		t.Errorf("%+v, %v", e, err)
	}
	if err := os.Remove(filepath.Join(weights, dcpIndex)); err != nil {
		t.Fatal(err)
	}
	want := weights + " has shards of a PyTorch distributed checkpoint and no .metadata"
	if _, err := l.Register(ctx, Registration{Workload: "w", Path: dir}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("without its index: %v, want %q", err, want)
	}
}

// A shard may be a link, if what it leads to is in the directory.
func TestLinkedShards(t *testing.T) {
	ctx, l := context.Background(), open(t)
	dir := dcp(t, filepath.Join(t.TempDir(), "step"), time.Hour)
	shard := filepath.Join(dir, "__2_0.distcp")
	if err := os.Symlink("__1_0.distcp", shard); err != nil {
		t.Fatal(err)
	}
	e, err := l.Register(ctx, Registration{Workload: "w", Path: dir, Hash: true})
	if err != nil || len(e.Files) != 5 || e.Files[3].Path != "__2_0.distcp" || e.Files[3].Size != 7000 || e.Files[3].Hash != e.Files[2].Hash {
		t.Fatalf("%+v, %v", e.Files, err)
	}
	if err := l.Verify(ctx, e.ID, true); err != nil {
		t.Error(err)
	}
	outside := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(outside, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{outside: "outside of the directory", "nowhere": "leads to nothing", "sub": "not a regular file"} {
		if err := os.Remove(shard); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, shard); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Register(ctx, Registration{Workload: "w", Path: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a link to %s: %v, want %q", target, err, want)
		}
	}
}
