package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// ScrubReport is what a scrub has found.
type ScrubReport struct {
	Packs  int       `json:"packs"`           // read to their end
	Chunks int       `json:"chunks"`          // verified
	Bytes  int64     `json:"bytes"`           // read
	Bad    int       `json:"bad"`             // manifests, packs and chunks that are lost or not what they should be
	Whole  bool      `json:"whole"`           // the pass came to its end
	Began  time.Time `json:"began"`           // the pass, perhaps before this call
	First  []string  `json:"first,omitempty"` // the first few errors
}

func (r *ScrubReport) bad(d *Dir, err error) {
	r.Bad++
	d.wholes.lost()
	if len(r.First) < 8 {
		r.First = append(r.First, err.Error())
	}
	d.opt.Logger.Error("scrub found damage", "error", err)
}

// Scrub looks whether every chunk that a checkpoint needs is there, then reads
// all chunks and verifies them, whether anybody needs them or not. It goes on where the last one ended, also in an earlier process,
// and stops once it has read limit bytes, or, when limit is 0, at the end of the
// pass. A chunk that is rotten is put aside like any that a reader meets, so
// that the next checkpoint or a peer writes it anew. The error is about reading,
// damage is in the report. One scrub runs at a time.
func (d *Dir) Scrub(ctx context.Context, limit int64) (r ScrubReport, err error) {
	d.scrubbing.Lock()
	defer d.scrubbing.Unlock()
	at, err := d.readScrubCursor()
	if err != nil {
		d.opt.Logger.Warn("scrub begins anew", "error", err)
	}
	if at.began.IsZero() {
		at = scrubCursor{began: d.opt.Now()}
		if err := d.scrubManifests(ctx, &r); err != nil {
			return r, fmt.Errorf("scrub: %w", err)
		}
		if err := d.scrubLoose(ctx, &r); err != nil {
			return r, fmt.Errorf("scrub: %w", err)
		}
	}
	r.Began = at.began
	packs := d.packsAfter(at.last)
	told := d.progress(StepScrub, "", d.packs.bytes(packs))
	defer told.end()
	wait := func(ctx context.Context, n int) error {
		told.add(int64(n))
		return d.pace.wait(ctx, n)
	}
	for _, n := range packs {
		if limit > 0 && r.Bytes >= limit {
			return r, d.writeScrubCursor(at)
		}
		p, ok := d.packs.get(n)
		if !ok {
			continue
		}
		if err := d.scrubPack(ctx, n, p, &r, wait); err != nil {
			return r, errors.Join(fmt.Errorf("scrub: %w", err), d.writeScrubCursor(at))
		}
		at.last = p.id
	}
	r.Whole = true
	return r, d.writeScrubCursor(scrubCursor{})
}

// packsAfter returns the packs whose names follow id, by name.
func (d *Dir) packsAfter(id hash) []uint32 {
	type named struct {
		number uint32
		id     hash
	}
	var all []named
	for _, n := range d.packs.numbers() {
		if p, ok := d.packs.get(n); ok && bytes.Compare(p.id[:], id[:]) > 0 {
			all = append(all, named{n, p.id})
		}
	}
	slices.SortFunc(all, func(a, b named) int { return bytes.Compare(a.id[:], b.id[:]) })
	out := make([]uint32, len(all))
	for i, a := range all {
		out[i] = a.number
	}
	return out
}

// scrubManifests reads the trees of all checkpoints, each block once.
func (d *Dir) scrubManifests(ctx context.Context, r *ScrubReport) error {
	d.mu.Lock()
	for _, err := range d.damaged {
		r.bad(d, err)
	}
	d.mu.Unlock()
	d.gcing.Lock() // whose marks it uses
	defer d.gcing.Unlock()
	d.beginGC()
	_, err := d.markAll(ctx, func(err error) { r.bad(d, err) })
	return err
}

// scrubLoose reads the chunks of version 1.
func (d *Dir) scrubLoose(ctx context.Context, r *ScrubReport) error {
	var buf []byte
	return d.eachLoose(func(h hash, fi fs.FileInfo) error {
		if s, ok := d.index.get(h); !ok || s.pack != looseChunk {
			return ctx.Err()
		}
		b, err := d.readChunk(buf, h)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		r.verified(d, err, fi.Size())
		buf = b
		return d.pace.wait(ctx, int(fi.Size()))
	})
}

func (r *ScrubReport) verified(d *Dir, err error, size int64) {
	r.Bytes += size
	if err != nil {
		r.bad(d, err)
		return
	}
	r.Chunks++
}

// scrubPack reads a pack from its beginning to its end, waiting after each read
// of so many bytes.
func (d *Dir) scrubPack(ctx context.Context, number uint32, p packFile, r *ScrubReport, wait func(context.Context, int) error) error {
	path := d.packs.path(p.id)
	f, err := d.fs.OpenRead(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, still := d.packs.get(number); still {
			d.cutPack(number)
			r.bad(d, corrupt(path, "the pack has vanished"))
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	chunks, now, err := d.readPackEnd(path)
	if err == nil && !beginsAsPack(f) && !beginsAsPack(f) {
		err = corrupt(path, "does not begin as a pack does")
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // GC has just removed it
		}
		unread := errors.Is(err, syscall.EIO)
		if !unread && !errors.Is(err, ErrCorrupt) {
			return err
		}
		if !p.broken {
			r.bad(d, err)
		}
		d.cutPack(number)
		if !unread { // or it may be read some other time
			d.packs.damaged(number, p.size)
		}
		if chunks, err = d.packChunks(packFile{id: p.id, broken: true}); err != nil {
			return err
		}
	}
	var buf, content []byte
	for _, c := range chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		buf = sized(buf, int(c.size))
		file, bad, err := readEntry(f, buf, int64(c.at), c.hash)
		err = errors.Join(err, bad)
		s, ok := d.index.get(c.hash)
		if ok = ok && s.pack == number && s.at == c.at; ok && err == nil {
			content, err = d.codec.decode(content, file, c.hash)
		}
		switch {
		case errors.Is(err, ErrKey):
			return fmt.Errorf("%s: %w", d.where(c.hash, s), err)
		case err != nil && ok:
			err = d.rotten(c.hash, s, buf, err)
		case err != nil:
			err = corrupt(path, "chunk %s at %d, which is not in use: %v", c.hash, c.at, err)
		}
		r.verified(d, err, int64(c.size))
		if err := wait(ctx, int(c.size)); err != nil {
			return err
		}
	}
	d.packs.verified(number, now.ident)
	r.Packs++
	return nil
}

func beginsAsPack(f io.ReaderAt) bool {
	head := make([]byte, packHeaderLen)
	n, _ := f.ReadAt(head, 0)
	return bytes.Equal(head[:n], packHeader())
}

// scrubCursor is how far a pass has come: magic, version (1 byte), three bytes 0,
// name of the last pack, time the pass began, CRC-32C.
type scrubCursor struct {
	last  hash
	began time.Time // zero: no pass is under way
}

const (
	scrubMagic   = "FSCB"
	scrubVersion = 1
	scrubLen     = 8 + 32 + 8 + 4
)

func (s scrubCursor) encode() []byte {
	b := append([]byte(scrubMagic), scrubVersion, 0, 0, 0)
	b = append(b, s.last[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.began.UnixNano()))
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeScrubCursor(b []byte) (s scrubCursor, err error) {
	if len(b) != scrubLen || string(b[:4]) != scrubMagic || b[4] != scrubVersion ||
		crc32.Checksum(b[:scrubLen-4], castagnoli) != binary.LittleEndian.Uint32(b[scrubLen-4:]) {
		return s, errors.New("is not a scrub cursor of version 1")
	}
	return scrubCursor{hash(b[8:40]), time.Unix(0, int64(binary.LittleEndian.Uint64(b[40:]))).UTC()}, nil
}

func (d *Dir) scrubPath() string { return filepath.Join(d.path, scrubFile) }

func (d *Dir) readScrubCursor() (s scrubCursor, err error) {
	b, err := d.read(d.scrubPath())
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		s, err = decodeScrubCursor(b)
	}
	if err != nil {
		return scrubCursor{}, fmt.Errorf("%s: %w", d.scrubPath(), err)
	}
	return s, nil
}

// writeScrubCursor remembers how far a pass has come; the zero cursor, that it
// is complete.
func (d *Dir) writeScrubCursor(s scrubCursor) error {
	if !s.began.IsZero() {
		return d.replace(d.scrubPath(), s.encode())
	}
	err := d.removeDurably(d.scrubPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
