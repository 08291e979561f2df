package checkpoint

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

var gcCheckpoints = flag.Int("gc-checkpoints", 20, "checkpoints of TestGCInBoundedMemory")

const (
	gcChildEnv = "FORESTALL_TEST_GC_STORE"
	gcFiles    = 1 << 18
)

// gcChild opens a store, collects and scrubs it, and says what that took.
func gcChild(path string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	began := time.Now()
	d, err := OpenDir(path, DefaultOptions())
	fail(err)
	opened := time.Since(began)
	freed, err := d.GC(context.Background())
	fail(err)
	collected := time.Since(began) - opened
	r, err := d.Scrub(context.Background(), 0)
	fail(err)
	fmt.Printf("opened %v, GC %v (freed %d), scrub %v (%d chunks, %d bad)\n", opened.Round(time.Millisecond), collected.Round(time.Millisecond), freed,
		(time.Since(began) - opened - collected).Round(time.Millisecond), r.Chunks, r.Bad)
	status, err := os.ReadFile("/proc/self/status")
	fail(err)
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") {
			fmt.Print(line)
		}
	}
	os.Exit(0)
}

// TestGCInBoundedMemory makes checkpoints of a tree of 262,144 files of 4 KiB, a
// hundred neighbours of which change each time, and lets another process
// collect and scrub them. With -gc-checkpoints 2000 that is 524 million references.
func TestGCInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("makes checkpoints of 262,144 files; run without -short")
	}
	base := t.TempDir()
	d := must[*Dir](t)(OpenDir(filepath.Join(base, "store"), DefaultOptions()))
	entries := make([]entry, 0, gcFiles+1025)
	entries = append(entries, entry{path: ".", kind: kindDir, mode: 0o755})
	for dir := range 1024 {
		entries = append(entries, entry{path: fmt.Sprintf("shard-%04d", dir), kind: kindDir, mode: 0o755})
		for f := range gcFiles / 1024 {
			entries = append(entries, entry{path: fmt.Sprintf("shard-%04d/part-%03d.bin", dir, f), kind: kindFile, mode: 0o644, size: 4096})
		}
	}
	content := make([]byte, 4096) // of which the first bytes tell it from others
	rng := rand.New(rand.NewPCG(8, 9))
	write := func(b *batch, e *entry) {
		if e.kind != kindFile {
			return
		}
		binary.LittleEndian.PutUint64(content, rng.Uint64())
		h := must[hash](t)(b.add(content))
		e.extents = []extent{whole(ref{h, 4096})}
		e.mtime++
		e.ident = ident{64768, rng.Uint64N(1 << 24), int64(rng.Uint64N(1 << 60))}
	}
	var cp forestall.Checkpoint
	for i := range *gcCheckpoints {
		p := must[*plan](t)(d.planCheckpoint(header{workload: "w"}, time.Unix(1_700_000_000+int64(i), 0), 0, false))
		from, to := 0, len(entries)
		if i > 0 {
			from = rng.IntN(len(entries) - 100)
			to = from + 100
		}
		for j := from; j < to; j++ {
			write(p.batch, &entries[j])
		}
		p.m.entries, p.m.size = entries, gcFiles*4096
		cp = must[forestall.Checkpoint](t)(d.finish(t.Context(), p))
		p.end()
		if i > 0 && cp.Added > 256<<10 {
			t.Errorf("checkpoint %d added %d bytes for 100 files of 100 bytes", i, cp.Added)
		}
	}
	t.Logf("the last of %d checkpoints added %d bytes", *gcCheckpoints, cp.Added)
	closeDir(t, d)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), gcChildEnv+"="+d.path)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	var kb int
	_, after, _ := strings.Cut(string(out), "VmHWM:")
	if _, err := fmt.Sscan(after, &kb); err != nil || kb > 256<<10 {
		t.Errorf("at most %d KiB were resident (%v), want 256 MiB", kb, err)
	}
}
