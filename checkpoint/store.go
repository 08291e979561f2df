package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// has reports whether the chunk is in the store. Who relies on the answer
// holds the chunk before asking.
func (d *Dir) has(h hash) bool {
	s, ok := d.index.get(h)
	if !ok {
		return false
	}
	if s.pack == looseChunk {
		_, err := os.Lstat(d.loosePath(h))
		return err == nil
	}
	return true
}

// leaseTime is for how long at least a chunk that a peer was told of is kept
// without a manifest; at most twice as long.
const leaseTime = time.Hour

// readChunk appends the content of a chunk to dst[:0], verified. A chunk that
// fails is put aside, so that whoever has the content can write it anew.
func (d *Dir) readChunk(dst []byte, h hash) ([]byte, error) {
	buf := d.bufs.Get().(*[]byte)
	defer d.bufs.Put(buf)
	file, s, err := d.readStored((*buf)[:0], h)
	if err != nil {
		return nil, err
	}
	*buf = file[:0]
	dst, err = d.codec.decode(dst, file, h)
	if errors.Is(err, ErrKey) && s.pack != looseChunk { // version 1 knew no keys
		return nil, fmt.Errorf("%s: %w", d.where(h, s), err)
	}
	if err != nil {
		return nil, d.rotten(h, s, file, err)
	}
	if d.opt.OnRead != nil {
		d.opt.OnRead(len(dst))
	}
	return dst, nil
}

// readStored reads the chunk file of a chunk into buf, checked as far as can be
// without decoding it, and returns where it was.
func (d *Dir) readStored(buf []byte, h hash) (file []byte, s slot, err error) {
	for range 3 { // GC may move it in between
		var ok bool
		looked := d.looked()
		if s, ok = d.index.get(h); !ok {
			if again, err := d.lookAgain(looked); err != nil {
				return nil, s, err
			} else if again {
				continue
			}
			return nil, s, corrupt(d.path, "chunk %s is missing"+missingRemedy, h)
		}
		if s.pack == looseChunk {
			return d.readLoose(buf, h, s)
		}
		buf = sized(buf, int(s.size()))
		var bad error
		file, bad, err = d.packs.entry(s.pack, buf, int64(s.at), h)
		if bad != nil {
			return nil, s, d.rotten(h, s, buf, bad)
		}
		if err == nil {
			return file, s, nil
		}
		if errors.Is(err, syscall.EIO) {
			return nil, s, d.rotten(h, s, nil, err)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.EOF) {
			return nil, s, fmt.Errorf("read %s: %w", d.where(h, s), err)
		}
		where := d.where(h, s)
		if again, err := d.lookAgain(looked); err != nil {
			return nil, s, err
		} else if again {
			continue
		}
		if _, known := d.packs.get(s.pack); known {
			d.cutPack(s.pack)
			return nil, s, corrupt(where, "the pack is missing or cut off")
		}
	}
	return nil, s, fmt.Errorf("read %s: %w", d.where(h, s), err)
}

func (d *Dir) readLoose(buf []byte, h hash, s slot) ([]byte, slot, error) {
	file, err := readFile(d.fs, buf[:0], d.loosePath(h))
	if errors.Is(err, fs.ErrNotExist) {
		d.index.remove(h, looseChunk)
		d.wholes.lost()
		return nil, s, corrupt(d.loosePath(h), "the chunk is missing")
	}
	if err != nil {
		return nil, s, fmt.Errorf("read chunk: %w", err)
	}
	return file, s, nil
}

// sized returns a slice of n bytes, b's memory where it is enough.
func sized(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

// where says in which file a chunk is, for errors.
func (d *Dir) where(h hash, s slot) string {
	if s.pack == looseChunk {
		return d.loosePath(h)
	}
	p, ok := d.packs.get(s.pack)
	if !ok {
		return fmt.Sprintf("chunk %s", h)
	}
	return fmt.Sprintf("%s: chunk %s at %d", d.packs.path(p.id), h, s.at)
}

// rotten puts a chunk aside that is not what it should be: the store no longer
// has it, and what was read of it stays in corrupt/ for whoever wants to look.
// That file also keeps the next start from taking the chunk for a good one.
func (d *Dir) rotten(h hash, s slot, read []byte, why error) error {
	where := d.where(h, s)
	if !d.index.remove(h, s.pack) {
		return corrupt(where, "%v", why)
	}
	d.wholes.lost()
	aside := filepath.Join(d.path, rotDir, h.String())
	var err error
	if s.pack == looseChunk {
		err = d.fs.Rename(d.loosePath(h), aside)
	} else if p, ok := d.packs.get(s.pack); ok {
		aside += "." + p.id.String()
		err = d.replace(aside, read)
	}
	if err != nil {
		return corrupt(where, "%v", why)
	}
	return corrupt(where, "%v (moved to %s)", why, aside)
}

// loadManifest reads and verifies a manifest whole. Errors wrap [ErrNotFound]
// or [ErrCorrupt].
func (d *Dir) loadManifest(id string) (*manifest, error) {
	r, err := d.loadRoot(id)
	if err != nil {
		return nil, err
	}
	return d.expand(id, r)
}

func (d *Dir) loadRoot(id string) (root, error) {
	b, err := d.manifestBytes(id)
	if err != nil {
		return root{}, err
	}
	return d.decodeRoot(d.manifestPath(id), b)
}

// decodeRoot reads a manifest file. Errors name it and wrap [ErrKey] or
// [ErrCorrupt].
func (d *Dir) decodeRoot(name string, b []byte) (root, error) {
	r, err := d.codec.decodeRoot(b)
	if errors.Is(err, ErrKey) {
		return r, fmt.Errorf("manifest %s: %w", name, err)
	}
	if err != nil {
		return r, corrupt(name, "%v", err)
	}
	return r, nil
}

func (d *Dir) expand(id string, r root) (*manifest, error) {
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
	b, err := d.read(path)
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
