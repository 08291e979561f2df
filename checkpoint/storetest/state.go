package storetest

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// origin is a directory store in which the suite takes the checkpoints that it
// then copies, with what each must restore to.
type origin struct {
	t    testing.TB
	dir  *checkpoint.Dir
	tree string
	want map[string]map[string]string // checkpoint ID -> path -> content
}

func newOrigin(t testing.TB) *origin {
	return &origin{t: t, dir: openDir(t), tree: t.TempDir(), want: make(map[string]map[string]string)}
}

// openDir opens a store with small chunks, so that small trees have many.
func openDir(t testing.TB) *checkpoint.Dir {
	t.Helper()
	opt := checkpoint.DefaultOptions()
	opt.ChunkSize = 4 << 10
	opt.Workers = 2
	d, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// write puts a file into the state of a workload.
func (o *origin) write(workload, name, content string) {
	o.t.Helper()
	path := filepath.Join(o.tree, workload, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// save takes a checkpoint of what was written.
func (o *origin) save(workload string, epoch forestall.Epoch) forestall.Checkpoint {
	o.t.Helper()
	source := filepath.Join(o.tree, workload)
	cp, err := o.dir.Save(context.Background(), checkpoint.Snapshot{Workload: workload, Epoch: epoch, Source: source})
	if err != nil {
		o.t.Fatal(err)
	}
	o.want[cp.ID] = files(o.t, source)
	return cp
}

// put copies a checkpoint into a store.
func (o *origin) put(ctx context.Context, s checkpoint.Store, cp forestall.Checkpoint) error {
	return checkpoint.Copy(ctx, s, checkpoint.Local(o.dir), cp.ID)
}

// check restores a checkpoint out of a store and compares every byte. An error
// is the store's; a difference fails the test.
func (o *origin) check(ctx context.Context, s checkpoint.Store, id string) error {
	o.t.Helper()
	p, err := s.Open(ctx, id)
	if err != nil {
		return err
	}
	defer p.Close()
	d := openDir(o.t)
	if err := d.Take(ctx, p); err != nil {
		return err
	}
	target := filepath.Join(o.t.TempDir(), "restored")
	if err := d.Restore(ctx, id, target); err != nil {
		o.t.Fatalf("what was taken whole cannot be restored: %v", err)
	}
	if diff := cmp.Diff(o.want[id], files(o.t, target)); diff != "" {
		o.t.Fatalf("checkpoint %.12s differs (-want +got):\n%.2000s", id, diff)
	}
	return nil
}

func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, de fs.DirEntry, err error) error {
		if err != nil || !de.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, rerr := filepath.Rel(dir, path)
		if rerr != nil {
			return rerr
		}
		out[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// noise returns n bytes that do not compress, the same for the same seed.
func noise(seed uint64, n int) string {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return string(b)
}

// ids lists what a store says it holds.
func ids(t testing.TB, s checkpoint.Store, workload string) []string {
	t.Helper()
	cps, err := s.List(context.Background(), workload)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, 0, len(cps))
	for _, cp := range cps {
		out = append(out, cp.ID)
	}
	return out
}

func name(i int) string { return fmt.Sprintf("w%d", i) }
