package checkpoint

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/seal"
	"github.com/stratoswarm/forestall/internal/durable"
)

const (
	crashChildEnv = "FORESTALL_TEST_CRASH_STORE"
	crashAtEnv    = "FORESTALL_TEST_CRASH_AT" // file operation before which it kills itself
)

// crashChild saves ever new states into the store at dir until it is killed. It
// prints an ID once its checkpoint is acknowledged.
func crashChild(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var fsys durable.FS = durable.OS{}
	if at, err := strconv.ParseInt(os.Getenv(crashAtEnv), 10, 64); err == nil {
		k := killFS{fsys, new(atomic.Int64)}
		k.left.Store(at)
		fsys = k
	}
	opt, err := crashOptions(dir)
	if err != nil {
		fail(err)
	}
	d, err := openDirOn(fsys, filepath.Join(dir, "store"), opt)
	// A process that the test has just forked has its files for a moment, the lock's too.
	for limit := time.Now().Add(10 * time.Second); errors.Is(err, ErrLocked) && time.Now().Before(limit); {
		d, err = openDirOn(fsys, filepath.Join(dir, "store"), opt)
	}
	if err != nil {
		fail(err)
	}
	src := filepath.Join(dir, "state")
	if err := os.MkdirAll(src, 0o755); err != nil {
		fail(err)
	}
	newest, _ := d.newest("w")
	for i := newest.Sequence + 1; ; i++ {
		for f := range uint64(4) {
			// The state tells its own sequence, one file of it from the one before.
			if err := os.WriteFile(filepath.Join(src, fmt.Sprint(f)), []byte(noise(i-f/3, 30<<10)), 0o644); err != nil {
				fail(err)
			}
		}
		cp, err := d.Save(context.Background(), Snapshot{Workload: "w", Epoch: 1, Sequence: i, Source: src})
		if err != nil {
			fail(err)
		}
		fmt.Printf("%s %d\n", cp.ID, i)
		if i%3 == 0 {
			if _, _, err := d.Prune(context.Background(), time.Nanosecond, time.Now(), func(c forestall.Checkpoint) bool { return c.Sequence%2 == 0 }); err != nil {
				fail(err)
			}
		}
	}
}

// crashOptions has the keys that lie in dir, if there are any.
func crashOptions(dir string) (Options, error) {
	opt := small()
	file, err := os.ReadFile(filepath.Join(dir, "keyring"))
	if errors.Is(err, fs.ErrNotExist) {
		return opt, nil
	}
	if err == nil {
		var identity []byte
		if identity, err = os.ReadFile(filepath.Join(dir, "identity")); err == nil {
			opt.Keys, err = seal.Open(file, bytes.NewReader(identity))
		}
	}
	return opt, err
}

// killedPlainAndSealed runs a test on directories for crashChild, without keys
// and with some.
func killedPlainAndSealed(t *testing.T, newDir func(testing.TB) string, run func(t *testing.T, dir string, opt Options)) {
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		run(t, newDir(t), small())
	})
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		dir := newDir(t)
		id := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
		file := must[[]byte](t)(seal.New([]string{id.Recipient().String()}, time.Now()))
		writeFiles(t, dir, map[string]string{"keyring": string(file), "identity": id.String()})
		run(t, dir, must[Options](t)(crashOptions(dir)))
	})
}

// TestKilledWhileSaving kills a process at random moments of saving and
// pruning. Every acknowledged checkpoint that was not pruned must be there and
// whole, and nothing half-made may be visible.
func TestKilledWhileSaving(t *testing.T) {
	t.Parallel()
	killedPlainAndSealed(t, func(t testing.TB) string { return t.TempDir() }, killedWhileSaving)
}

func killedWhileSaving(t *testing.T, dir string, opt Options) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	acknowledged := make(map[string]uint64)
	newest := uint64(0)
	for range 10 {
		delay := time.Duration(rng.IntN(60)) * time.Millisecond
		for id, seq := range killedRun(t, dir, delay) {
			acknowledged[id] = seq
			newest = max(newest, seq)
		}
		d, err := OpenDir(filepath.Join(dir, "store"), opt)
		if err != nil {
			t.Fatal(err)
		}
		noTemporaryFiles(t, d)
		for id, seq := range acknowledged {
			if seq%2 == 0 || seq == newest {
				if _, err := d.Get(id); err != nil {
					t.Errorf("acknowledged checkpoint %d: %v", seq, err)
				}
			}
		}
		for _, cp := range must[[]forestall.Checkpoint](t)(d.List("w")) {
			checkState(t, d, cp)
		}
		if _, err := d.GC(t.Context()); err != nil {
			t.Error(err)
		}
		closeDir(t, d)
	}
	t.Logf("%d checkpoints acknowledged over 10 kills", len(acknowledged))
	if len(acknowledged) == 0 {
		t.Error("no child lived long enough to save anything")
	}
}

// killedRun lets a child save, kills it some time after its first
// acknowledgement, and returns what it acknowledged.
func killedRun(t *testing.T, dir string, after time.Duration, env ...string) map[string]uint64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), crashChildEnv+"="+dir), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]uint64)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var id string
		var seq uint64
		if _, err := fmt.Sscan(lines.Text(), &id, &seq); err != nil || len(id) != 64 {
			continue // the line in which it died
		}
		if len(got) == 0 {
			defer time.AfterFunc(after, func() { _ = cmd.Process.Kill() }).Stop()
		}
		got[id] = seq
	}
	_ = cmd.Wait() // killed, as it should be
	if stderr.Len() > 0 {
		t.Errorf("child: %s", stderr.String())
	}
	return got
}

// checkState restores a crashChild's checkpoint and looks whether it is the
// state of its sequence.
func checkState(t *testing.T, d *Dir, cp forestall.Checkpoint) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "t")
	if err := d.Restore(t.Context(), cp.ID, target); err != nil {
		t.Error(err)
		return
	}
	for f := range uint64(4) {
		if b := must[[]byte](t)(os.ReadFile(filepath.Join(target, fmt.Sprint(f)))); string(b) != noise(cp.Sequence-f/3, 30<<10) {
			t.Errorf("checkpoint %d holds another state in file %d", cp.Sequence, f)
		}
	}
}

// killFS kills the process before its file operation number at.
type killFS struct {
	durable.FS
	left *atomic.Int64
}

func (k killFS) step() {
	if k.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it has
	}
}

func (k killFS) Create(path string) (durable.File, error) {
	k.step()
	f, err := k.FS.Create(path)
	return killFile{f, k}, err
}

func (k killFS) Open(path string) (durable.File, error) {
	k.step()
	f, err := k.FS.Open(path)
	return killFile{f, k}, err
}
func (k killFS) Rename(from, to string) error { k.step(); return k.FS.Rename(from, to) }
func (k killFS) Remove(path string) error     { k.step(); return k.FS.Remove(path) }
func (k killFS) SyncDir(path string) error    { k.step(); return k.FS.SyncDir(path) }

type killFile struct {
	durable.File
	k killFS
}

func (f killFile) WriteAt(b []byte, at int64) (int, error) {
	f.k.step()
	return f.File.WriteAt(b, at)
}
func (f killFile) Sync() error  { f.k.step(); return f.File.Sync() }
func (f killFile) Close() error { f.k.step(); return f.File.Close() }

// TestKilledAtEveryOperation kills a process that saves and prunes before its
// first file operation, its second, and so on, each time in the store that the
// one before left.
func TestKilledAtEveryOperation(t *testing.T) {
	t.Parallel()
	killedPlainAndSealed(t, memoryDir, killedAtEveryOperation)
}

func killedAtEveryOperation(t *testing.T, dir string, opt Options) {
	acknowledged, newest := make(map[string]uint64), uint64(0)
	last := 80
	if testing.Short() {
		last = 12
	}
	for at := 1; at <= last; at++ {
		for id, seq := range killedRun(t, dir, time.Minute, fmt.Sprintf("%s=%d", crashAtEnv, at)) {
			acknowledged[id] = seq
			newest = max(newest, seq)
		}
		d, err := OpenDir(filepath.Join(dir, "store"), opt)
		if err != nil {
			t.Fatalf("killed at operation %d: %v", at, err)
		}
		noTemporaryFiles(t, d)
		for id, seq := range acknowledged {
			if seq%2 == 0 || seq == newest {
				if _, err := d.Get(id); err != nil {
					t.Errorf("acknowledged checkpoint %d: %v", seq, err)
				}
			}
		}
		for _, cp := range must[[]forestall.Checkpoint](t)(d.List("w")) {
			if cp.Sequence+6 > newest {
				checkState(t, d, cp)
			}
		}
		if _, _, err := d.Prune(t.Context(), time.Nanosecond, time.Now(), nil); err != nil {
			t.Error(err)
		}
		clear(acknowledged) // only the newest is kept
		closeDir(t, d)
		if t.Failed() {
			t.Fatalf("killed at operation %d", at)
		}
	}
	if newest < uint64(last)/20 {
		t.Errorf("only %d checkpoints were acknowledged", newest)
	}
}
