package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
)

// faults works on a store whose transport fails at random, and whose sources
// do, and checks after each step that what it says is true: a Put that was
// acknowledged can be read to the last byte, one that failed is whole or not
// there, a stale epoch never appears. STORETEST_SEED and STORETEST_STEPS repeat
// or lengthen a run.
func faults(t *testing.T, open Open) {
	seed, steps := env(t, "STORETEST_SEED", uint64(time.Now().UnixNano())), env(t, "STORETEST_STEPS", 15)
	t.Logf("STORETEST_SEED=%d STORETEST_STEPS=%d", seed, steps)
	transport := NewFaults(http.DefaultTransport, seed)
	w := &world{
		t: t, o: newOrigin(t), s: open(t, transport), transport: transport,
		rng: rand.New(rand.NewPCG(seed, 1)), acked: make(map[string]bool), stale: make(map[string]bool), fence: 1,
	}
	for range steps {
		transport.Set(0.15)
		w.step(t.Context())
		transport.Set(0)
		if !w.verify(t.Context()) {
			return
		}
	}
	t.Logf("faults: %v; %d steps succeeded, %d failed; %d checkpoints held at the end", transport.Hits(), w.good, w.bad, len(w.acked))
}

func env(t *testing.T, key string, otherwise uint64) uint64 {
	v := os.Getenv(key)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return n
}

// world is a store and what must be true of it.
type world struct {
	t         *testing.T
	o         *origin
	s         checkpoint.Store
	transport *Faults
	rng       *rand.Rand
	acked     map[string]bool // true: must be there; false: may be, after a failed Delete
	stale     map[string]bool // must never be there: their Put began after the fence
	fence     forestall.Epoch
	good, bad int
}

func (w *world) step(ctx context.Context) {
	switch n := w.rng.IntN(10); {
	case n < 5:
		w.put(ctx)
	case n < 6:
		w.read(ctx)
	case n < 8:
		w.remove(ctx)
	case n < 9:
		w.raise(ctx)
	default:
		w.putStale(ctx)
	}
}

func (w *world) told(err error) bool {
	if err != nil {
		w.bad++
		return false
	}
	w.good++
	return true
}

func (w *world) next(epoch forestall.Epoch) forestall.Checkpoint {
	w.o.write("w", name(w.rng.IntN(6)), noise(w.rng.Uint64N(1<<20), w.rng.IntN(48<<10)))
	return w.o.save("w", epoch)
}

// put copies a new checkpoint, from a source that breaks now and then.
func (w *world) put(ctx context.Context) {
	cp := w.next(w.fence)
	p, err := w.o.dir.Parcel(cp.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Close()
	if fetch := p.Fetch; w.rng.IntN(6) == 0 {
		p.Fetch = func(ctx context.Context, chunks []checkpoint.Hash, deliver func(checkpoint.Hash, []byte) error) error {
			if err := fetch(ctx, chunks[:len(chunks)/2], deliver); err != nil {
				return err
			}
			return errInjected
		}
	}
	err = w.s.Put(ctx, p)
	if errors.Is(err, forestall.ErrStaleEpoch) {
		// A Fence whose reply was lost has been carried out.
		w.fence++
	}
	if w.told(err) {
		w.acked[cp.ID] = true
	}
}

func (w *world) read(ctx context.Context) {
	for id, must := range w.acked {
		err := w.o.check(ctx, w.s, id)
		w.told(err)
		if must && errors.Is(err, checkpoint.ErrNotFound) {
			w.t.Errorf("checkpoint %.12s is said not to be there: %v", id, err)
		}
		return
	}
}

func (w *world) remove(ctx context.Context) {
	for id := range w.acked {
		err := w.s.Delete(ctx, id, checkpoint.Claim{})
		if w.told(err) || errors.Is(err, checkpoint.ErrNotFound) {
			delete(w.acked, id)
		} else {
			w.acked[id] = false
		}
		return
	}
}

func (w *world) raise(ctx context.Context) {
	err := w.s.Fence(ctx, "w", w.fence+1)
	if w.told(err) {
		w.fence++
	}
}

// putStale tries a checkpoint of an epoch that a finished Fence has ended.
func (w *world) putStale(ctx context.Context) {
	e, err := w.s.Fenced(ctx, "w")
	if err != nil || e < 2 {
		return
	}
	o := newOrigin(w.t)
	o.write("w", "f", noise(w.rng.Uint64(), 9<<10))
	cp := o.save("w", e-1)
	w.stale[cp.ID] = true
	if err := o.put(ctx, w.s, cp); err == nil {
		w.t.Errorf("a checkpoint of epoch %s was taken, the fence stood at %s", e-1, e)
	}
}

// verify looks at the store without faults.
func (w *world) verify(ctx context.Context) bool {
	listed := make(map[string]bool)
	for _, id := range ids(w.t, w.s, "w") {
		listed[id] = true
		if w.stale[id] {
			w.t.Errorf("checkpoint %.12s of an epoch that was over is listed", id)
		}
	}
	for id, must := range w.acked {
		if must && !listed[id] {
			w.t.Errorf("checkpoint %.12s was acknowledged and is not listed", id)
		}
		if !must && !listed[id] {
			delete(w.acked, id)
		}
	}
	// All that is listed is whole; looking at two keeps a run short.
	looked := 0
	for id := range listed {
		if looked++; looked > 2 {
			break
		}
		if err := w.o.check(ctx, w.s, id); err != nil {
			w.t.Errorf("checkpoint %.12s is listed and cannot be read: %v", id, err)
		}
	}
	return !w.t.Failed()
}
