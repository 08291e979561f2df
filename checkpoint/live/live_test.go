package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/checkpoint/delta"
	"github.com/stratoswarm/forestall/checkpoint/live"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openStore(t testing.TB) *checkpoint.Dir {
	t.Helper()
	opt := checkpoint.DefaultOptions()
	d, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// agent is a program with a value and memory, guarded by one lock.
type agent struct {
	mu    sync.Mutex
	state struct {
		Step  int
		Notes map[string]string
	}
	memory []byte
}

func (a *agent) hold(context.Context) (func(), error) {
	a.mu.Lock()
	return a.mu.Unlock, nil
}

func newAgent(size int) *agent {
	a := &agent{memory: make([]byte, size)}
	a.state.Notes = map[string]string{"goal": "none"}
	rng := rand.NewChaCha8([32]byte{7})
	_, _ = rng.Read(a.memory)
	return a
}

func manage(t testing.TB, store *checkpoint.Dir, a *agent, change func(*live.Config)) *live.Manager {
	t.Helper()
	cfg := live.DefaultConfig("agent-7")
	cfg.Epoch, cfg.Hold, cfg.Jitter = 3, a.hold, func() float64 { return 0 }
	if change != nil {
		change(&cfg)
	}
	m, err := live.NewManager(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := delta.OpenMemory(a.memory, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{m.Track("notes", &a.state), m.Region("memory", r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func create(t testing.TB, m *live.Manager, label string) forestall.Checkpoint {
	t.Helper()
	cp, err := m.Create(context.Background(), label)
	if err != nil {
		t.Fatal(err)
	}
	return cp
}

func TestCreateAndRestore(t *testing.T) {
	store, a := openStore(t), newAgent(8<<20)
	m := manage(t, store, a, nil)
	first := create(t, m, "start")
	if first.Size < 8<<20 || first.Epoch != 3 || first.Sequence != 1 || first.Label != "start" || first.Took <= 0 {
		t.Errorf("first checkpoint %+v", first)
	}

	a.state.Step, a.state.Notes["goal"] = 1, "leave"
	a.memory[5<<20] ^= 0xff
	was := string(a.memory)
	second := create(t, m, "")
	if second.Added > 40<<10 {
		t.Errorf("one page and a field changed; %d bytes added to %d", second.Added, second.Size)
	}

	a.state.Step, a.state.Notes = 2, nil
	clear(a.memory)
	if err := m.Restore(context.Background(), second.ID); err != nil {
		t.Fatal(err)
	}
	if a.state.Step != 1 || a.state.Notes["goal"] != "leave" || string(a.memory) != was {
		t.Error("the restored states are not the checkpoint's")
	}
	if err := m.Restore(context.Background(), first.ID, "notes"); err != nil {
		t.Fatal(err)
	}
	if a.state.Step != 0 || string(a.memory) != was {
		t.Error("restoring one state did not leave the other alone")
	}
	third := create(t, m, "")
	if err := m.Restore(context.Background(), third.ID); err != nil {
		t.Fatal(err)
	}
	if a.state.Step != 0 || string(a.memory) != was {
		t.Error("a checkpoint after a restore is not the state")
	}
}

func TestRestoreRefuses(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	m := manage(t, store, a, nil)
	cp := create(t, m, "")
	ctx := context.Background()
	if err := m.Restore(ctx, strings.Repeat("0", 64)); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("an unknown checkpoint: %v", err)
	}
	if err := m.Restore(ctx, cp.ID, "note"); err == nil || !strings.Contains(err.Error(), `"note"`) {
		t.Errorf("an unknown state: %v", err)
	}
	var late int
	if err := m.Track("late", &late); err != nil {
		t.Fatal(err)
	}
	if err := m.Restore(ctx, cp.ID); err != nil {
		t.Errorf("a state that the checkpoint lacks: %v", err)
	}
	if err := m.Restore(ctx, cp.ID, "late"); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("a named state that the checkpoint lacks: %v", err)
	}
	if err := m.Track("late", &late); err == nil {
		t.Error("one name was taken twice")
	}
}

// When one of several states cannot be restored, none is touched: its type has
// changed, or its memory has another size.
func TestRestoreAllOrNothing(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	a.state.Step = 7
	cp := create(t, manage(t, store, a, nil), "")

	b := newAgent(2 << 20)
	b.state.Step = 1
	m := manage(t, store, b, nil)
	if err := m.Restore(context.Background(), cp.ID); err == nil || !strings.Contains(err.Error(), `"memory"`) {
		t.Fatalf("memory of another size: %v", err)
	}
	if b.state.Step != 1 {
		t.Fatal("the value was restored although the memory could not be")
	}

	c := newAgent(1 << 20)
	clear(c.memory)
	cfg := live.DefaultConfig("agent-7")
	other, err := live.NewManager(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	r, err := delta.OpenMemory(c.memory, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var changed struct{ Step string }
	for _, err := range []error{other.Track("notes", &changed), other.Region("memory", r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Restore(context.Background(), cp.ID); err == nil || !strings.Contains(err.Error(), "Step") {
		t.Fatalf("a value of another type: %v", err)
	}
	for _, x := range c.memory {
		if x != 0 {
			t.Fatal("the memory was restored although the value could not be")
		}
	}
}

// failing is a state that cannot be written down at times.
type failing struct{ err error }

func (f *failing) Snapshot(_ context.Context, w io.Writer) error {
	if _, err := io.WriteString(w, "half"); err != nil {
		return err
	}
	return f.err
}
func (f *failing) Restore(context.Context, io.Reader) error { return nil }

// What a checkpoint that failed would have had is in the next one.
func TestCreateAfterFailures(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	m := manage(t, store, a, nil)
	f := &failing{}
	if err := m.Register("zz", f); err != nil {
		t.Fatal(err)
	}
	create(t, m, "")
	f.err = errors.New("not now")
	a.state.Step = 5
	a.memory[4096] ^= 1
	if _, err := m.Create(context.Background(), ""); !errors.Is(err, f.err) || !strings.Contains(err.Error(), `"zz"`) {
		t.Fatalf("error %v", err)
	}
	if !a.mu.TryLock() {
		t.Fatal("the program is still held")
	}
	a.mu.Unlock()
	f.err = nil
	a.memory[8192] ^= 1
	was := string(a.memory)
	cp := create(t, m, "")
	clear(a.memory)
	a.state.Step = 0
	if err := m.Restore(context.Background(), cp.ID); err != nil {
		t.Fatal(err)
	}
	if string(a.memory) != was || a.state.Step != 5 {
		t.Fatal("the change before the failure was lost")
	}
}

// When the base was dropped, the next checkpoint is whole.
func TestCreateWithoutItsBase(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	m := manage(t, store, a, nil)
	cp := create(t, m, "")
	if err := store.Delete(context.Background(), cp.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := store.GC(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.memory[0] ^= 1
	was := string(a.memory)
	cp = create(t, m, "")
	if cp.Added < 1<<20 {
		t.Errorf("%d bytes added for a whole checkpoint", cp.Added)
	}
	clear(a.memory)
	if err := m.Restore(context.Background(), cp.ID); err != nil || string(a.memory) != was {
		t.Fatalf("restored: %v", err)
	}
}

func TestStaleEpochIsRefused(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	m := manage(t, store, a, nil)
	create(t, m, "")
	if err := store.Fence(context.Background(), "agent-7", 4); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create(context.Background(), ""); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Fatalf("error %v", err)
	}
}

func TestClosed(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	m := manage(t, store, a, nil)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create(context.Background(), ""); !errors.Is(err, checkpoint.ErrClosed) {
		t.Errorf("create: %v", err)
	}
	if err := m.Restore(context.Background(), "x"); !errors.Is(err, checkpoint.ErrClosed) {
		t.Errorf("restore: %v", err)
	}
}

func TestRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		store, err := checkpoint.OpenDir(dir, checkpoint.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		a := newAgent(64 << 10)
		m := manage(t, store, a, func(c *live.Config) { c.Retention = time.Hour })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		time.Sleep(3*time.Hour + time.Second)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		kept, err := store.Timeline("agent-7")
		if err != nil {
			t.Fatal(err)
		}
		if got := kept[len(kept)-1].Sequence; got != 37 {
			t.Errorf("%d checkpoints in 3 h, want one every 5 min", got)
		}
		if len(kept) < 12 || len(kept) > 14 {
			t.Errorf("%d are kept, want those of the last hour", len(kept))
		}
		for i := range kept[1:] {
			if gap := kept[i+1].Time.Sub(kept[i].Time); gap > 5*time.Minute {
				t.Errorf("%v between two checkpoints", gap)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestConfigValidate(t *testing.T) {
	for _, tc := range []struct {
		want   string
		change func(*live.Config)
	}{
		{"workload", func(c *live.Config) { c.Workload = "" }},
		{"pace", func(c *live.Config) { c.Pace.Longest = 0 }},
		{"retention", func(c *live.Config) { c.Retention = 0 }},
		{"rounds", func(c *live.Config) { c.Rounds.Most = -1 }},
		{"Jitter", func(c *live.Config) { c.Jitter = nil }},
	} {
		c := live.DefaultConfig("w")
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.want, err)
		}
	}
}

// Checkpoints taken while goroutines write are each one moment: a counter in the
// value and one in every page of the memory agree. Each is restored elsewhere.
func TestCheckpointsBesideWriters(t *testing.T) {
	store, a := openStore(t), newAgent(4<<20)
	m := manage(t, store, a, nil)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			a.mu.Lock()
			a.state.Step++
			for i := 0; i < 64; i++ {
				copy(a.memory[(a.state.Step*7+i*13)%1024*4096:], fmt.Sprintf("%20d", a.state.Step))
			}
			copy(a.memory, fmt.Sprintf("%20d", a.state.Step))
			a.mu.Unlock()
		}
	}()
	var all []forestall.Checkpoint
	for range 8 {
		all = append(all, create(t, m, ""))
	}
	close(stop)
	<-stopped
	for _, cp := range all {
		b := newAgent(4 << 20)
		other := manage(t, store, b, nil)
		if err := other.Restore(context.Background(), cp.ID); err != nil {
			t.Fatal(err)
		}
		if got, want := string(b.memory[:20]), fmt.Sprintf("%20d", b.state.Step); b.state.Step > 0 && got != want {
			t.Fatalf("checkpoint %d mixes moments: memory %q, value %q", cp.Sequence, got, want)
		}
	}
	// The last one is what the memory was, to the last byte: nothing was written
	// after the writers had stopped.
	last := create(t, m, "")
	dir := t.TempDir()
	if err := store.Restore(context.Background(), last.ID, dir); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "memory"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.memory, file); diff != "" {
		t.Fatal("the region's file is not the memory")
	}
}
