package live_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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

// A checkpoint counts when it was pushed. One that could not be pushed is the
// base of the next one all the same.
func TestPush(t *testing.T) {
	store, a := openStore(t), newAgent(1<<20)
	var pushed []string
	down := errors.New("the peers are away")
	err := down
	m := manage(t, store, a, func(c *live.Config) {
		c.Push = func(_ context.Context, id string) ([]string, error) {
			pushed = append(pushed, id)
			return []string{"n1", "n2"}, err
		}
	})
	if _, err := m.Create(context.Background(), ""); !errors.Is(err, down) {
		t.Fatalf("error %v", err)
	}
	if _, ok := m.Last(); ok {
		t.Error("a checkpoint that was not pushed counts")
	}
	err = nil
	a.memory[0] ^= 1
	cp := create(t, m, "")
	if cp.Added > 64<<10 || len(cp.Replicas) != 2 || len(pushed) != 2 || pushed[1] != cp.ID {
		t.Errorf("checkpoint %+v, pushed %v", cp, pushed)
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

// Each state has the compression that the configuration names for it.
func TestCompressionOfStates(t *testing.T) {
	const size = 900_000
	added := func(c forestall.Compression) int64 {
		store, err := checkpoint.OpenDir(filepath.Join(t.TempDir(), "store"), checkpoint.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		cfg := live.DefaultConfig("agent-7")
		if c != "" {
			cfg.Compression = map[string]forestall.Compression{"text": c, "not registered": forestall.CompressionBest}
		}
		m, err := live.NewManager(store, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog. "), size/45)
		other := bytes.Repeat([]byte("pack my box with five dozen liquor jugs again"), size/45)
		for name, state := range map[string]*[]byte{"text": &text, "other": &other} {
			if err := m.Track(name, state); err != nil {
				t.Fatal(err)
			}
		}
		cp := create(t, m, "")
		clear(text)
		if err := m.Restore(t.Context(), cp.ID); err != nil || string(text[4:9]) != "quick" {
			t.Fatalf("restored %.20q: %v", text, err)
		}
		return cp.Added
	}
	stored, raw, best := added(""), added(forestall.CompressionNone), added(forestall.CompressionBest)
	if raw < size || stored > raw/10 || best > stored {
		t.Errorf("%d bytes added as the store does, %d with one state raw, %d with best", stored, raw, best)
	}
	cfg := live.DefaultConfig("agent-7")
	cfg.Compression = map[string]forestall.Compression{"text": "zip"}
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), `state "text": "zip" is not one of [none fastest default better best]`) {
		t.Errorf("an unknown name: %v", err)
	}
}
