package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// inbox holds chunks that came before their manifest: verified, in temporary
// files, gone with the process.
type inbox struct {
	mu     sync.Mutex
	chunks map[hash]inboxChunk
}

type inboxChunk struct {
	path string
	at   time.Time
}

// expire drops what came before t and was never asked for.
func (b *inbox) expire(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h, c := range b.chunks {
		if c.at.Before(t) {
			os.Remove(c.path)
			delete(b.chunks, h)
		}
	}
}

func (b *inbox) has(h hash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.chunks[h]
	return ok
}

func (b *inbox) path(h hash) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.chunks[h]
	return c.path, ok
}

// take hands over those of the chunks that are here.
func (b *inbox) take(hashes []hash) map[hash]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(map[hash]string)
	for _, h := range hashes {
		if c, ok := b.chunks[h]; ok {
			out[h] = c.path
			delete(b.chunks, h)
		}
	}
	return out
}

// put takes in a chunk; one that is here already is replaced.
func (b *inbox) put(h hash, c inboxChunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.chunks[h]; ok {
		os.Remove(old.path)
	}
	b.chunks[h] = c
}

// missing returns which of the chunks the store would need to be sent, and
// keeps the others for leaseTime.
func (d *Dir) missing(hashes []hash) []hash {
	d.lease(hashes)
	var out []hash
	for _, h := range hashes {
		if !d.inbox.has(h) && !d.has(h) {
			out = append(out, h)
		}
	}
	return out
}

// receive takes in a chunk file from elsewhere; the error wraps [ErrCorrupt]
// when its content is not what h says.
func (d *Dir) receive(h hash, file []byte) error {
	buf := d.bufs.Get().(*[]byte)
	defer d.bufs.Put(buf)
	content, err := d.codec.decode((*buf)[:0], file, h)
	if err != nil {
		return corrupt("chunk "+h.String(), "%v", err)
	}
	*buf = content
	if d.has(h) {
		return nil
	}
	name := d.tempName()
	if err := d.write(name, file, false); err != nil {
		return d.diskFull(fmt.Errorf("receive chunk %s: %w", h, err))
	}
	d.inbox.put(h, inboxChunk{path: name, at: d.opt.Now()})
	return nil
}

// peek reads a chunk of the store or one that waits for its manifest; the error
// wraps errMissingChunks when it is in neither.
func (d *Dir) peek(dst []byte, h hash) ([]byte, error) {
	if path, ok := d.inbox.path(h); ok {
		file, err := readFile(nil, path)
		if err == nil {
			return d.codec.decode(dst, file, h)
		}
	}
	if !d.has(h) {
		return nil, fmt.Errorf("%w: %s", errMissingChunks, h)
	}
	return d.readChunk(dst, h)
}

// accept makes a manifest from elsewhere a checkpoint of this store, once its
// chunks are here: errMissingChunks otherwise. refuse, when not nil, may object.
// Accepting what the store holds already brings back chunks that it had lost.
func (d *Dir) accept(id string, raw []byte, refuse func(*lane, header) error) (forestall.Checkpoint, error) {
	var none forestall.Checkpoint
	if manifestID(raw) != id {
		return none, corrupt("manifest "+id, "the content is not what the name says")
	}
	r, err := decodeRoot(raw)
	if err != nil {
		return none, corrupt("manifest "+id, "%v", err)
	}
	m, err := r.expand(d.peek)
	if errors.Is(err, errMissingChunks) {
		return none, fmt.Errorf("%w: a block of the tree of checkpoint %.12s", errMissingChunks, id)
	}
	if err != nil {
		return none, fmt.Errorf("manifest %s: %w", id, err)
	}
	hashes := m.hashes()
	defer d.pin(hashes...)()
	if err := d.unpack(id, hashes); err != nil {
		return none, err
	}
	if cp, err := d.Get(id); err == nil {
		return cp, nil
	}
	if refuse == nil {
		refuse = func(*lane, header) error { return nil }
	}
	return d.commit(r, refuse)
}

// unpack publishes those of the chunks that are in the inbox and reports
// whether all are in the store then. One at a time: a chunk that another
// checkpoint has just taken out of the inbox is in the store when it is looked
// for here.
func (d *Dir) unpack(id string, hashes []hash) error {
	d.unpacking.Lock()
	defer d.unpacking.Unlock()
	fresh := d.inbox.take(hashes)
	defer func() {
		for _, name := range fresh {
			os.Remove(name)
		}
	}()
	lacking := 0
	for _, h := range hashes {
		if _, ok := fresh[h]; !ok && !d.has(h) {
			lacking++
		}
	}
	if lacking > 0 {
		// Kept for the next attempt.
		for h, name := range fresh {
			d.inbox.put(h, inboxChunk{path: name, at: d.opt.Now()})
			delete(fresh, h)
		}
		return fmt.Errorf("%w: %d of checkpoint %.12s", errMissingChunks, lacking, id)
	}
	return d.publish(fresh)
}

// admitPushed refuses a stale epoch.
func admitPushed(l *lane, h header) error { return l.admit(h.workload, h.epoch) }
