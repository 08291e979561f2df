package checkpoint

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/stratoswarm/forestall/internal/durable"
)

// packWriter fills one pack under a temporary name. Its methods may be called
// at once from any goroutine.
type packWriter struct {
	d    *Dir
	path string
	f    durable.File

	mu      sync.Mutex
	size    int64
	chunks  []packChunk
	writing sync.WaitGroup // appends under way
	failed  error
}

func (d *Dir) newPack() (*packWriter, error) {
	w := &packWriter{d: d, path: d.tempName(), size: packHeaderLen}
	var err error
	if w.f, err = d.fs.Create(w.path); err != nil {
		return nil, fmt.Errorf("create pack: %w", d.diskFull(err))
	}
	if _, err := w.f.WriteAt(packHeader(), 0); err != nil {
		w.discard()
		return nil, fmt.Errorf("write pack: %w", d.diskFull(err))
	}
	return w, nil
}

// reserve takes the place of an entry of n bytes, which the caller then writes.
// full says that the pack has reached its size: the caller begins another.
func (w *packWriter) reserve(h hash, n int) (c packChunk, full bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c = packChunk{h, uint32(w.size), uint32(n)}
	w.size += int64(n)
	w.chunks = append(w.chunks, c)
	w.writing.Add(1)
	return c, w.size >= w.d.opt.PackSize
}

// write fills a reserved place.
func (w *packWriter) write(c packChunk, entry []byte) error {
	defer w.writing.Done()
	_, err := w.f.WriteAt(entry, int64(c.at))
	if err != nil {
		err = fmt.Errorf("write pack: %w", w.d.diskFull(err))
		w.mu.Lock()
		w.failed = err
		w.mu.Unlock()
	}
	return err
}

// seal writes the index, makes the pack durable under its temporary name, and
// returns the name that it will have. No append may follow.
func (w *packWriter) seal() (id hash, err error) {
	w.writing.Wait()
	if w.failed != nil {
		return id, w.failed
	}
	var nonce [packNonceLen]byte
	_, _ = rand.Read(nonce[:]) // never fails
	end, id := packEnd(w.chunks, nonce)
	_, err = w.f.WriteAt(end, w.size)
	w.size += int64(len(end))
	if err == nil {
		err = w.f.Sync()
	}
	if err = errors.Join(err, w.f.Close()); err != nil {
		return id, fmt.Errorf("write pack: %w", w.d.diskFull(err))
	}
	w.f = nil
	return id, nil
}

// discard removes what was written.
func (w *packWriter) discard() {
	w.writing.Wait()
	if w.f != nil {
		_ = w.f.Close() // what it holds is not needed
	}
	w.d.discard(w.path)
}

// read returns an entry that was appended, while the pack is not sealed.
func (w *packWriter) read(c packChunk) ([]byte, error) {
	b := make([]byte, c.size)
	f, err := w.d.fs.OpenRead(w.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = f.ReadAt(b, int64(c.at))
	return b, err
}
