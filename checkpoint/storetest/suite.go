package storetest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// Open returns a new, empty store. One that is reached by HTTP sends its
// requests through the transport and gives up on one within a few seconds; one
// that is files reads them through [Faults.ReadAt] where the transport is Faults.
type Open func(t *testing.T, transport http.RoundTripper) checkpoint.Store

// Run tests the stores that open makes.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Empty", empty},
		{"RoundTrip", roundTrip},
		{"Incremental", incremental},
		{"Repeated", repeated},
		{"Delete", remove},
		{"Pin", pin},
		{"Claim", claim},
		{"Fence", fence},
		{"FenceRace", fenceRace},
		{"CutOff", cutOff},
		{"CorruptSource", corruptSource},
		{"ManyAtOnce", manyAtOnce},
		{"Faults", faults},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

func plain(t *testing.T, open Open) checkpoint.Store { return open(t, http.DefaultTransport) }

func empty(t *testing.T, open Open) {
	s, ctx := plain(t, open), t.Context()
	id := checkpoint.Hash{1}.String()
	if got := ids(t, s, ""); len(got) != 0 {
		t.Errorf("lists %v", got)
	}
	if _, err := s.Open(ctx, id); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("open: %v, want ErrNotFound", err)
	}
	if err := s.Delete(ctx, id, checkpoint.Claim{}); !errors.Is(err, checkpoint.ErrNotFound) {
		t.Errorf("delete: %v, want ErrNotFound", err)
	}
	if e, err := s.Fenced(ctx, "w"); e != 0 || err != nil {
		t.Errorf("fenced: %v, %v; want 0", e, err)
	}
	if _, err := s.Open(ctx, "../escape"); err == nil {
		t.Error("opens what is no ID")
	}
}

func roundTrip(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("hollow", "empty", "")
	o.write("large", "weights", noise(1, 3<<20))
	for i := range 200 {
		o.write("many", name(i), noise(uint64(i), i*7))
	}
	var want []forestall.Checkpoint
	for _, w := range []string{"hollow", "large", "many"} {
		cp := o.save(w, 3)
		if err := o.put(ctx, s, cp); err != nil {
			t.Fatalf("put %s: %v", w, err)
		}
		if err := o.check(ctx, s, cp.ID); err != nil {
			t.Fatalf("read %s back: %v", w, err)
		}
		got, err := s.List(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]forestall.Checkpoint{cp}, got); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		want = append([]forestall.Checkpoint{cp}, want...)
	}
	got, err := s.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list of all, latest first (-want +got):\n%s", diff)
	}
}

// incremental: a chunk that the store has is not asked for again.
func incremental(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "big", noise(1, 1<<20))
	o.write("w", "small", "one")
	first := o.save("w", 1)
	if err := o.put(ctx, s, first); err != nil {
		t.Fatal(err)
	}
	o.write("w", "small", "two")
	second := o.save("w", 1)
	p, err := o.dir.Parcel(second.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var asked atomic.Int64
	fetch := p.Fetch
	p.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
		asked.Add(int64(len(chunks)))
		return fetch(ctx, chunks, deliver)
	}
	if err := s.Put(ctx, p); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n == 0 || n > 8 {
		t.Errorf("asked for %d of %d chunks, of which few are new", n, len(p.Chunks))
	}
	for _, cp := range []forestall.Checkpoint{first, second} {
		if err := o.check(ctx, s, cp.ID); err != nil {
			t.Error(err)
		}
	}
}

func repeated(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "f", noise(1, 64<<10))
	cp := o.save("w", 1)
	for range 3 {
		if err := o.put(ctx, s, cp); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, s, "w"); !slices.Equal(got, []string{cp.ID}) {
		t.Errorf("lists %v, want %s once", got, cp.ID)
	}
	if err := o.check(ctx, s, cp.ID); err != nil {
		t.Error(err)
	}
}

func remove(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	var all []forestall.Checkpoint
	for i := range 4 {
		o.write("w", "shared", noise(1, 64<<10))
		o.write("w", "own", noise(uint64(i+10), 16<<10))
		cp := o.save("w", 1)
		if err := o.put(ctx, s, cp); err != nil {
			t.Fatal(err)
		}
		all = append(all, cp)
	}
	for _, i := range []int{0, 2} {
		if err := s.Delete(ctx, all[i].ID, checkpoint.Claim{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(ctx, all[i].ID); !errors.Is(err, checkpoint.ErrNotFound) {
			t.Errorf("open what was deleted: %v, want ErrNotFound", err)
		}
	}
	if got, want := ids(t, s, "w"), []string{all[3].ID, all[1].ID}; !slices.Equal(got, want) {
		t.Errorf("lists %v, want %v", got, want)
	}
	for _, i := range []int{1, 3} {
		if err := o.check(ctx, s, all[i].ID); err != nil {
			t.Errorf("checkpoint %d: %v", i, err)
		}
	}
	if err := o.put(ctx, s, all[0]); err != nil {
		t.Fatalf("put back what was deleted: %v", err)
	}
	if err := o.check(ctx, s, all[0].ID); err != nil {
		t.Error(err)
	}
}

// cutOff: a Put that ends early leaves nothing to be seen, and a later one is whole.
func cutOff(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "f", noise(1, 1<<20))
	cp := o.save("w", 1)
	broken := errors.New("the source broke")
	for limit := range int64(3) {
		p, err := o.dir.Parcel(cp.ID)
		if err != nil {
			t.Fatal(err)
		}
		fetch, n := p.Fetch, atomic.Int64{}
		p.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
			return fetch(ctx, chunks, func(h checkpoint.Hash, file []byte) error {
				if n.Add(1) > limit*int64(len(p.Chunks))/3 {
					return broken
				}
				return deliver(h, file)
			})
		}
		if err := s.Put(ctx, p); !errors.Is(err, broken) {
			t.Errorf("put: %v, want what the source said", err)
		}
		p.Close()
		if got := ids(t, s, ""); len(got) != 0 {
			t.Fatalf("half a checkpoint is listed: %v", got)
		}
		if _, err := s.Open(ctx, cp.ID); !errors.Is(err, checkpoint.ErrNotFound) {
			t.Fatalf("open half a checkpoint: %v, want ErrNotFound", err)
		}
	}
	if err := o.put(ctx, s, cp); err != nil {
		t.Fatal(err)
	}
	if err := o.check(ctx, s, cp.ID); err != nil {
		t.Error(err)
	}
}

// corruptSource: a store may take a wrong chunk from a source that lies, but no
// reader ever believes it.
func corruptSource(t *testing.T, open Open) {
	s, ctx, o := plain(t, open), t.Context(), newOrigin(t)
	o.write("w", "f", noise(1, 64<<10))
	cp := o.save("w", 1)
	p, err := o.dir.Parcel(cp.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fetch, n := p.Fetch, atomic.Int64{}
	p.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
		return fetch(ctx, chunks, func(h checkpoint.Hash, file []byte) error {
			if n.Add(1) == int64(len(p.Chunks)) { // the last, which every store asks for
				file = slices.Clone(file)
				file[len(file)/2] ^= 4
			}
			return deliver(h, file)
		})
	}
	if err := s.Put(ctx, p); err != nil {
		if got := ids(t, s, ""); len(got) != 0 {
			t.Errorf("refused (%v) and listed: %v", err, got)
		}
		return
	}
	if err := o.check(ctx, s, cp.ID); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Errorf("read a checkpoint with a wrong chunk: %v, want ErrCorrupt", err)
	}
}
