package checkpoint

import "sync"

// hold keeps chunks from GC while somebody relies on them: those named one by
// one, and those of whole checkpoints. Who relies on a chunk holds it before
// looking for it.
type hold struct {
	d *Dir

	mu     sync.Mutex
	chunks map[hash]struct{}
	roots  []root
	fresh  int // of the roots, from this one on GC has not seen them
}

// newHold opens a hold, which the caller releases.
func (d *Dir) newHold() *hold {
	h := &hold{d: d, chunks: make(map[hash]struct{})}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.holds[h] = struct{}{}
	return h
}

// release ends the hold. What it held of whole checkpoints may by now be needed
// by a checkpoint that a running GC will not read: GC visits it nevertheless.
func (h *hold) release() {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	delete(h.d.holds, h)
	if h.d.marking {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.d.released = append(h.d.released, h.roots...)
	}
}

// add holds a chunk. first is false when the hold had it already; here says
// that the chunk is in the store.
func (h *hold) add(c hash) (first, here bool) {
	h.mu.Lock()
	_, had := h.chunks[c]
	h.chunks[c] = struct{}{}
	h.mu.Unlock()
	_, here = h.d.index.mark(c, spared)
	return !had, here
}

// has reports whether the chunk was added.
func (h *hold) has(c hash) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, had := h.chunks[c]
	return had
}

// checkpoint holds everything that a checkpoint needs. It fails when the
// checkpoint was dropped meanwhile: its chunks may be gone.
func (h *hold) checkpoint(id string, r root) error {
	h.mu.Lock()
	h.roots = append(h.roots, r)
	h.mu.Unlock()
	_, err := h.d.Get(id)
	return err
}
