package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// has reports whether the chunk is in the store. Who relies on the answer
// pins the chunk before asking.
func (d *Dir) has(h hash) bool {
	_, err := os.Lstat(d.chunkPath(h))
	return err == nil
}

// pin keeps chunks from GC until the returned function is called, once.
func (d *Dir) pin(hashes ...hash) (unpin func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range hashes {
		d.pins[h]++
		if d.spared != nil {
			d.spared[h] = struct{}{}
		}
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, h := range hashes {
			if d.pins[h]--; d.pins[h] == 0 {
				delete(d.pins, h)
			}
		}
	}
}

// leaseTime is how long a chunk that a peer was told of is kept without a
// manifest.
const leaseTime = time.Hour

// lease pins chunks for leaseTime.
func (d *Dir) lease(hashes []hash) {
	until := d.opt.Now().Add(leaseTime)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range hashes {
		d.leases[h] = until
		if d.spared != nil {
			d.spared[h] = struct{}{}
		}
	}
}

// readChunk appends the content of a chunk to dst[:0], verified. A chunk that
// fails is moved aside, so that whoever has the content can write it anew.
func (d *Dir) readChunk(dst []byte, h hash) ([]byte, error) {
	path := d.chunkPath(h)
	buf := d.bufs.Get().(*[]byte)
	defer d.bufs.Put(buf)
	file, err := readFile((*buf)[:0], path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt(path, "the chunk is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	*buf = file
	dst, err = d.codec.decode(dst, file, h)
	if err != nil {
		aside := filepath.Join(d.path, rotDir, h.String())
		if rerr := os.Rename(path, aside); rerr == nil {
			err = fmt.Errorf("%w (moved to %s)", err, aside)
		}
		return nil, corrupt(path, "%v", err)
	}
	return dst, nil
}

// readFile appends the content of the file at path to dst.
func readFile(dst []byte, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return dst, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return dst, err
	}
	if need := len(dst) + int(fi.Size()) + 1; cap(dst) < need {
		dst = append(make([]byte, 0, need), dst...)
	}
	for {
		n, err := f.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
	}
}

// loadManifest reads and verifies a manifest whole. Errors wrap [ErrNotFound]
// or [ErrCorrupt].
func (d *Dir) loadManifest(id string) (*manifest, error) {
	b, err := d.manifestBytes(id)
	if err != nil {
		return nil, err
	}
	r, err := decodeRoot(b)
	if err != nil {
		return nil, corrupt(d.manifestPath(id), "%v", err)
	}
	m, err := r.expand(d.readChunk)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d.manifestPath(id), err)
	}
	return m, nil
}

func (d *Dir) manifestBytes(id string) ([]byte, error) {
	if _, err := d.Get(id); err != nil {
		return nil, err
	}
	path := d.manifestPath(id)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt(path, "the manifest is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if manifestID(b) != id {
		return nil, corrupt(path, "the content is not what the name says")
	}
	return b, nil
}
