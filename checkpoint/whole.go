package checkpoint

import (
	"sync"

	"github.com/stratoswarm/forestall"
)

// wholes remembers which checkpoints had all their chunks, and after how many
// losses of the store.
type wholes struct {
	mu     sync.Mutex
	losses uint64
	seen   map[string]uint64 // by ID
}

// lost notes that something which a checkpoint may need has gone or is rotten.
func (w *wholes) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.losses++
}

// count returns how much was lost so far.
func (w *wholes) count() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.losses
}

// note says that a checkpoint had all its chunks when so much had been lost.
func (w *wholes) note(id string, losses uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = make(map[string]uint64)
	}
	w.seen[id] = losses
}

// known reports whether nothing was lost since the checkpoint had all its chunks.
func (w *wholes) known(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	losses, ok := w.seen[id]
	return ok && losses == w.losses
}

func (w *wholes) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, id)
}

// whole reports whether the store has the manifest and all its chunks.
func (d *Dir) whole(id string) bool {
	losses := d.wholes.count()
	m, unpin, err := d.pinManifest(id)
	if err != nil {
		return false
	}
	defer unpin()
	rely := d.relies(false)
	for _, h := range m.hashes() {
		if ok, err := rely.on(h); !ok || err != nil {
			return false
		}
	}
	d.wholes.note(id, losses)
	return true
}

// stillWhole is whole for retention: it looks again only once something was lost.
func (d *Dir) stillWhole(cp forestall.Checkpoint) bool {
	return d.wholes.known(cp.ID) || d.whole(cp.ID)
}
