package checkpoint

import (
	"fmt"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// batch collects the chunks of one new checkpoint: each is held, and written to
// a pack unless the store or the batch has it already.
type batch struct {
	d    *Dir
	enc  *zstd.Encoder // nil: nothing is compressed
	hold *hold
	rely *reliance

	mu      sync.Mutex
	open    *packWriter
	packs   []*batchPack // full ones
	sealing sync.WaitGroup
	bytes   int64 // of the packs published
}

// batchPack is a pack that is full and being made durable.
type batchPack struct {
	*packWriter
	id    hash
	ident ident
	err   error
}

// file is the pack as it is when published.
func (p *batchPack) file() packFile {
	f := packFile{id: p.id, size: p.size, ident: p.ident}
	f.count(p.chunks)
	return f
}

// newBatch begins a batch that compresses at a level; 0: the store's. verify says
// that chunks are read before the batch relies on them.
func (d *Dir) newBatch(level int, verify bool) (*batch, error) {
	enc, err := d.codec.encoder(level)
	if err != nil {
		return nil, err
	}
	return &batch{d: d, enc: enc, hold: d.newHold(), rely: d.relies(verify)}, nil
}

// add stores content, compressed as the batch is, and returns its address.
func (b *batch) add(content []byte) (hash, error) { return b.addWith(b.enc, content) }

// addWith is add with another compression; nil: none.
func (b *batch) addWith(enc *zstd.Encoder, content []byte) (hash, error) {
	h := b.d.codec.sum(content)
	return h, b.keep(h, content, 0, enc)
}

// keep is addWith for content whose address is known and that begins phase bytes
// into a page.
func (b *batch) keep(h hash, content []byte, phase int, enc *zstd.Encoder) error {
	first, here := b.hold.add(h)
	if !first {
		return nil
	}
	if here {
		if ok, err := b.rely.on(h); ok || err != nil {
			return err
		}
	}
	buf := b.d.bufs.Get().(*[]byte)
	defer b.d.bufs.Put(buf)
	*buf = b.entryOf((*buf)[:0], h, content, phase, enc)
	return b.append(h, *buf)
}

// knows reports whether adding the chunk would write nothing.
func (b *batch) knows(h hash) bool {
	if b.hold.has(h) {
		return true
	}
	_, here := b.d.index.get(h)
	return here
}

// entryOf appends a chunk's pack entry to dst.
func (b *batch) entryOf(dst []byte, h hash, content []byte, phase int, enc *zstd.Encoder) []byte {
	dst = b.d.codec.encode(append(dst, make([]byte, packEntryLen)...), h, content, phase, enc)
	sealEntry(dst, h)
	return dst
}

// append writes an entry to a pack.
func (b *batch) append(h hash, entry []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		var err error
		if b.open, err = b.d.newPack(); err != nil {
			return err
		}
	}
	w := b.open
	c, full := w.reserve(h, len(entry))
	if full {
		b.seal()
	}
	b.mu.Unlock()
	err := w.write(c, entry)
	b.mu.Lock()
	return err
}

// seal begins to make the open pack durable. The caller holds b.mu.
func (b *batch) seal() {
	p := &batchPack{packWriter: b.open}
	b.open = nil
	b.packs = append(b.packs, p)
	b.sealing.Go(func() { p.id, p.err = p.seal() })
}

// publish makes the batch's chunks durable and visible under their names. No
// add may follow.
func (b *batch) publish() error {
	b.mu.Lock()
	if b.open != nil {
		b.seal()
	}
	b.mu.Unlock()
	b.sealing.Wait()
	for _, p := range b.packs {
		if p.err != nil {
			return p.err
		}
		b.bytes += p.size
	}
	err := b.d.publish(b.packs)
	b.packs = nil
	return err
}

// end releases what the batch holds and removes what was not published.
func (b *batch) end() {
	b.sealing.Wait()
	if b.open != nil {
		b.open.discard()
	}
	for _, p := range b.packs {
		p.discard()
	}
	b.hold.release()
}

// publish gives sealed packs their names, makes the names durable and their
// chunks known. Packs that could not be published are removed.
func (d *Dir) publish(packs []*batchPack) error {
	if len(packs) == 0 {
		return nil
	}
	if err := d.publishFiles(packs); err != nil {
		return err
	}
	for _, p := range packs {
		number := d.packs.add(p.file())
		for _, c := range p.chunks {
			d.index.put(c.hash, number, c.at, int(c.size))
		}
		d.packs.indexed(number)
	}
	return nil
}

func (d *Dir) publishFiles(packs []*batchPack) error {
	for i, p := range packs {
		if err := d.fs.Rename(p.path, d.packs.path(p.id)); err != nil {
			for j, q := range packs {
				if j < i {
					d.discard(d.packs.path(q.id))
				} else {
					q.discard()
				}
			}
			return d.diskFull(fmt.Errorf("publish pack: %w", err))
		}
	}
	if err := d.fs.SyncDir(d.packs.dir); err != nil {
		for _, p := range packs {
			d.discard(d.packs.path(p.id))
		}
		return d.diskFull(err)
	}
	for _, p := range packs {
		if fi, err := os.Stat(d.packs.path(p.id)); err == nil { // otherwise it is verified when it is relied on
			p.ident = identOf(fi)
		}
	}
	return nil
}
