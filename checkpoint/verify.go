package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/stratoswarm/forestall/internal/parallel"
)

// Verify reads every chunk of a checkpoint and compares its hash. Errors wrap
// [ErrCorrupt] and name the files and chunks, the first few of them; a rotten
// chunk is moved aside, so that the next checkpoint or a peer writes it anew.
func (d *Dir) Verify(ctx context.Context, id string) error {
	m, unpin, err := d.pinManifest(id)
	if err != nil {
		return err
	}
	defer unpin()
	file := func(h hash) string {
		for _, e := range m.entries {
			if slices.ContainsFunc(e.extents, func(x extent) bool { return x.hash == h }) {
				return e.path
			}
		}
		return ""
	}
	var (
		mu  sync.Mutex
		bad []error
	)
	hashes := m.hashes()
	err = parallel.Do(ctx, d.opt.Workers, len(hashes), func(ctx context.Context, i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf := d.bufs.Get().(*[]byte)
		defer d.bufs.Put(buf)
		content, err := d.readChunk((*buf)[:0], hashes[i])
		if err == nil {
			*buf = content
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if bad = append(bad, fmt.Errorf("file %q: %w", file(hashes[i]), err)); len(bad) < 8 {
			return nil
		}
		return errors.Join(bad...)
	})
	if err == nil {
		err = errors.Join(bad...)
	}
	if err != nil {
		return fmt.Errorf("verify checkpoint %.12s of %s: %w", id, m.workload, err)
	}
	return nil
}

// pinManifest loads a manifest and keeps its chunks until unpin is called.
func (d *Dir) pinManifest(id string) (m *manifest, unpin func(), err error) {
	h := d.newHold()
	if m, err = d.holdManifest(id, h); err != nil {
		h.release()
		return nil, nil, err
	}
	return m, h.release, nil
}

// holdManifest loads a manifest and lets h hold what it needs.
func (d *Dir) holdManifest(id string, h *hold) (*manifest, error) {
	r, err := d.loadRoot(id)
	if err != nil {
		return nil, err
	}
	if err := h.checkpoint(id, r); err != nil {
		return nil, err
	}
	return d.expand(id, r)
}
