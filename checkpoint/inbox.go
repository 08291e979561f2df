package checkpoint

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// inbox holds chunks that came before their manifest: verified, in a pack that
// is not sealed yet, gone with the process.
type inbox struct {
	mu     sync.Mutex
	pack   *packWriter // nil: empty
	chunks map[hash]packChunk
	last   time.Time // when something came
}

// expire drops what is there if nothing has come since t.
func (b *inbox) expire(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pack != nil && b.last.Before(t) {
		b.pack.discard()
		b.pack = nil
		clear(b.chunks)
	}
}

func (b *inbox) has(h hash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.chunks[h]
	return ok
}

// read returns the chunk file of a chunk that is here.
func (b *inbox) read(h hash) ([]byte, error) {
	b.mu.Lock()
	c, ok := b.chunks[h]
	pack := b.pack
	b.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: %s", errMissingChunks, h)
	}
	entry, err := pack.read(c)
	if err != nil {
		return nil, fmt.Errorf("read received chunk %s: %w", h, err)
	}
	return openEntry(entry, h)
}

// missing returns which of the chunks the store would need to be sent, and
// keeps the others for leaseTime.
func (d *Dir) missing(hashes []hash) (out []hash, err error) {
	rely := d.relies(false)
	for _, h := range hashes {
		d.index.mark(h, leased)
		here, err := rely.on(h)
		if err != nil {
			return nil, err
		}
		if !here && !d.inbox.has(h) {
			out = append(out, h)
		}
	}
	return out, nil
}

// receive takes in a chunk file from elsewhere; the error wraps [ErrCorrupt]
// when its content is not what h says, and [ErrKey] when it is in clear text and
// this store is encrypted.
func (d *Dir) receive(h hash, file []byte) error {
	if err := d.refuseClear(isSealed(file), "chunk "+h.String()); err != nil {
		return err
	}
	return d.receiveAny(h, file)
}

// refuseClear refuses what is in clear text where there are keys.
func (d *Dir) refuseClear(sealed bool, what string) error {
	if d.opt.Keys == nil || sealed {
		return nil
	}
	return fmt.Errorf("%w: %s is in clear text and this store is encrypted; give the node that it comes from the same keyring, or import it into a store without one", ErrKey, what)
}

// receiveAny is receive for what was written before there were keys.
func (d *Dir) receiveAny(h hash, file []byte) error {
	buf := d.bufs.Get().(*[]byte)
	defer d.bufs.Put(buf)
	content, err := d.codec.decode((*buf)[:0], file, h)
	if errors.Is(err, ErrKey) {
		return fmt.Errorf("chunk %s: %w; give all nodes the same keyring", h, err)
	}
	if err != nil {
		return fmt.Errorf("%w: chunk %s: %w", ErrCorrupt, h, err)
	}
	*buf = content
	if d.has(h) {
		return nil
	}
	entry := append(make([]byte, packEntryLen, packEntryLen+len(file)), file...)
	sealEntry(entry, h)
	if err := d.inbox.add(d, h, entry); err != nil {
		return fmt.Errorf("receive chunk %s: %w", h, err)
	}
	return nil
}

func (b *inbox) add(d *Dir, h hash, entry []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.chunks[h]; ok {
		return nil
	}
	if b.pack == nil {
		var err error
		if b.pack, err = d.newPack(); err != nil {
			return err
		}
	}
	c, full := b.pack.reserve(h, len(entry))
	if err := b.pack.write(c, entry); err != nil {
		b.drop()
		return err
	}
	b.chunks[h], b.last = c, d.opt.Now()
	if full {
		return b.publish(d)
	}
	return nil
}

// drop empties the inbox. The caller holds b.mu.
func (b *inbox) drop() {
	if b.pack != nil {
		b.pack.discard()
	}
	b.pack = nil
	clear(b.chunks)
}

// publish moves what is here into the store, where it is leased. The caller
// holds b.mu.
func (b *inbox) publish(d *Dir) error {
	if b.pack == nil {
		return nil
	}
	p := &batchPack{packWriter: b.pack}
	b.pack = nil
	defer clear(b.chunks)
	if p.id, p.err = p.seal(); p.err != nil {
		p.discard()
		return p.err
	}
	if err := d.publish([]*batchPack{p}); err != nil {
		return err
	}
	for h := range b.chunks {
		d.index.mark(h, leased)
	}
	return nil
}

// settle publishes the inbox if any of the chunks is there, and returns how
// many of them the store lacks.
func (d *Dir) settle(hashes []hash) (lacking int, err error) {
	b := &d.inbox
	b.mu.Lock()
	defer b.mu.Unlock()
	needed := false
	rely := d.relies(false)
	for _, h := range hashes {
		if _, ok := b.chunks[h]; ok {
			needed = true
			continue
		}
		here, err := rely.on(h)
		if err != nil {
			return 0, err
		}
		if !here {
			lacking++
		}
	}
	if needed && lacking == 0 {
		err = b.publish(d)
	}
	return lacking, err
}

// peek reads a chunk of the store or one that waits for its manifest; the error
// wraps errMissingChunks when it is in neither.
func (d *Dir) peek(dst []byte, h hash) ([]byte, error) {
	if d.has(h) {
		return d.readChunk(dst, h)
	}
	file, err := d.inbox.read(h)
	if err != nil {
		if d.has(h) { // published in between
			return d.readChunk(dst, h)
		}
		return nil, err
	}
	return d.codec.decode(dst, file, h)
}

// accept makes a manifest from elsewhere a checkpoint of this store, once its
// chunks are here: errMissingChunks otherwise. refuse, when not nil, may object.
// Accepting what the store holds already brings back chunks that it had lost. old
// lets what is in clear text into an encrypted store.
func (d *Dir) accept(id string, raw []byte, old bool, refuse func(*lane, header) error) (forestall.Checkpoint, error) {
	var none forestall.Checkpoint
	if manifestID(raw) != id {
		return none, corrupt("manifest "+id, "the content is not what the name says")
	}
	r, err := d.decodeRoot("manifest "+id, raw)
	if err == nil && !old {
		err = d.refuseClear(r.sealed, "manifest "+id)
	}
	if err != nil {
		return none, err
	}
	m, err := r.expand(d.peek)
	if errors.Is(err, errMissingChunks) {
		return none, fmt.Errorf("%w: a block of the tree of checkpoint %.12s", errMissingChunks, id)
	}
	if err != nil {
		return none, fmt.Errorf("manifest %s: %w", id, err)
	}
	losses := d.wholes.count()
	hold := d.newHold()
	defer hold.release()
	hashes := m.hashes()
	for _, h := range hashes {
		hold.add(h)
	}
	lacking, err := d.settle(hashes)
	if err != nil {
		return none, err
	}
	if lacking > 0 {
		return none, fmt.Errorf("%w: %d of checkpoint %.12s", errMissingChunks, lacking, id)
	}
	if cp, err := d.Get(id); err == nil {
		return cp, nil
	}
	if refuse == nil {
		refuse = func(*lane, header) error { return nil }
	}
	cp, err := d.commit(id, raw, r.header, refuse)
	if err == nil {
		d.wholes.note(id, losses)
	}
	return cp, err
}

// admitPushed refuses a stale epoch.
func admitPushed(l *lane, h header) error { return l.admit(h.workload, h.epoch) }
