package checkpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

var gcCheckpoints = flag.Int("gc-checkpoints", 20, "checkpoints of TestGCInBoundedMemory")

const (
	gcChildEnv = "FORESTALL_TEST_GC_STORE"
	gcPercent  = 40 // as `forestall engine` sets it
	gcShards   = 1 << 10
	gcFiles    = 1 << 18
)

func gcFile(i int) string {
	return fmt.Sprintf("shard-%04d/part-%03d.bin", i/(gcFiles/gcShards), i%(gcFiles/gcShards))
}

// gcChild opens a store, drops a twentieth of its checkpoints, collects and scrubs
// it while others save and read, and says what that took.
func gcChild(path string) {
	if err := gcWork(path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func gcWork(path string) error {
	debug.SetGCPercent(gcPercent)
	ctx := context.Background()
	began := time.Now()
	d, err := OpenDir(path, DefaultOptions())
	if err != nil {
		return err
	}
	fmt.Printf("opened in %v; ", time.Since(began).Round(time.Millisecond))
	all, err := d.List("w")
	if err != nil {
		return err
	}
	var kept []string
	for i, cp := range all {
		if i%20 == 7 {
			if err := d.Delete(ctx, cp.ID); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, cp.ID)
	}
	o := &others{d: d, tree: filepath.Join(filepath.Dir(path), "tree"), kept: kept}
	stop, err := o.start()
	if err != nil {
		return err
	}
	step := func(what string, do func() (string, error)) error {
		began := time.Now()
		saves, reads := o.saves.Load(), o.reads.Load()
		said, err := do()
		fmt.Printf("%s %v (%s; meanwhile %d saves, %d readings); ", what, time.Since(began).Round(time.Millisecond), said, o.saves.Load()-saves, o.reads.Load()-reads)
		return err
	}
	err = step("GC", func() (string, error) {
		freed, err := d.GC(ctx)
		return fmt.Sprintf("freed %d bytes", freed), err
	})
	if err == nil {
		err = step("scrub", func() (string, error) {
			r, err := d.Scrub(ctx, 0)
			if err == nil && r.Bad > 0 {
				err = fmt.Errorf("scrub found %d bad: %v", r.Bad, r.First)
			}
			return fmt.Sprintf("%d chunks, %d bytes", r.Chunks, r.Bytes), err
		})
	}
	err = errors.Join(err, stop())
	for _, id := range o.made {
		err = errors.Join(err, d.Verify(ctx, id))
	}
	fmt.Println()
	status, rerr := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") {
			fmt.Print(line)
		}
	}
	return errors.Join(err, rerr)
}

// others save a real tree of 16,384 files of 4 KiB, a hundred of which change
// each time, and read files of the large ones, over and over.
type others struct {
	d            *Dir
	tree         string
	kept         []string
	made         []string
	saves, reads atomic.Int64
}

const othersFiles = 1 << 14

func (o *others) start() (stop func() error, err error) {
	rng := rand.New(rand.NewPCG(3, 4))
	for dir := range othersFiles / 256 {
		if err := os.MkdirAll(filepath.Join(o.tree, fmt.Sprint(dir)), 0o755); err != nil {
			return nil, err
		}
	}
	write := func(i int) error {
		return os.WriteFile(filepath.Join(o.tree, fmt.Sprint(i/256), fmt.Sprint(i%256)), gcPage(rng, make([]byte, 4096)), 0o644)
	}
	for i := range othersFiles {
		if err := write(i); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var saving, reading error
	wg.Go(func() {
		for ctx.Err() == nil && saving == nil {
			for range 100 {
				saving = errors.Join(saving, write(rng.IntN(othersFiles)))
			}
			cp, err := o.d.Save(context.Background(), Snapshot{Workload: "other", Source: o.tree})
			saving = errors.Join(saving, err)
			o.made = append(o.made, cp.ID)
			o.saves.Add(1)
		}
	})
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(5, 6))
		for ctx.Err() == nil && reading == nil {
			_, reading = o.d.ReadFile(context.Background(), o.kept[rng.IntN(len(o.kept))], gcFile(rng.IntN(gcFiles)), make(memory, 4096))
			o.reads.Add(1)
		}
	})
	return func() error {
		cancel()
		wg.Wait()
		return errors.Join(saving, reading)
	}, nil
}

// gcPage fills a page: with random bytes or, half the time, with text.
func gcPage(rng *rand.Rand, b []byte) []byte {
	if rng.IntN(2) == 0 {
		for i := 0; i < len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
		}
		return b
	}
	for n := 0; n < len(b); {
		n += copy(b[n:], fmt.Sprintf("the gradient of layer %d is bounded by its norm, the step is %d; ", rng.IntN(100), rng.IntN(1e6)))
	}
	return b
}

// TestGCInBoundedMemory makes checkpoints of a tree of 262,144 files of 4 KiB of
// random bytes or text, 1 GiB. From one to the next a hundred of them change, and
// at each twentieth 1 % of all, wherever they are. The entries are handed to the
// store as a scan would have found them; the content, chunks, packs and trees are
// real. Another process then drops a twentieth of the checkpoints, collects and
// scrubs, while in the same process and memory a writer saves a real directory
// and a reader reads. With -gc-checkpoints 2000 that is 524 million
// references.
func TestGCInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("makes checkpoints of 262,144 files; run without -short")
	}
	base := t.TempDir()
	opt := DefaultOptions()
	opt.Workers = 2
	d := must[*Dir](t)(OpenDir(filepath.Join(base, "store"), opt))
	entries := make([]entry, 0, gcFiles+gcShards+1)
	entries = append(entries, entry{path: ".", kind: kindDir, mode: 0o755})
	var files []int // among the entries
	for i := range gcFiles {
		if i%(gcFiles/gcShards) == 0 {
			entries = append(entries, entry{path: filepath.Dir(gcFile(i)), kind: kindDir, mode: 0o755})
		}
		files = append(files, len(entries))
		entries = append(entries, entry{path: gcFile(i), kind: kindFile, mode: 0o644, size: 4096})
	}
	rng := rand.New(rand.NewPCG(8, 9))
	content := make([]byte, 4096)
	write := func(b *batch, e *entry) {
		h := must[hash](t)(b.add(gcPage(rng, content)))
		e.extents = []extent{whole(ref{h, 4096})}
		e.mtime++
		e.ident = ident{64768, rng.Uint64N(1 << 24), int64(rng.Uint64N(1 << 60))}
	}
	began := time.Now()
	for i := range *gcCheckpoints {
		p := must[*plan](t)(d.planCheckpoint(header{workload: "w"}, time.Unix(1_700_000_000+int64(i), 0), 0, false))
		change := files
		if i > 0 {
			n := 100
			if i%20 == 0 {
				n = gcFiles / 100
			}
			change = make([]int, n)
			for j := range change {
				change[j] = files[rng.IntN(gcFiles)]
			}
		}
		for _, j := range change {
			write(p.batch, &entries[j])
		}
		p.m.entries, p.m.size = entries, gcFiles*4096
		_ = must[forestall.Checkpoint](t)(d.finish(t.Context(), p))
		p.end()
	}
	stats := must[Stats](t)(d.Stats())
	t.Logf("%d checkpoints, %d chunks, %d bytes of packs, made in %v", *gcCheckpoints, stats.Chunks, stats.PackBytes, time.Since(began).Round(time.Second))
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
