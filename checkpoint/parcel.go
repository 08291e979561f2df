package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/internal/parallel"
)

// Hash addresses a chunk: the BLAKE3-256 of its content before compression.
type Hash = hash

// ParseHash reads the 64 lower-case hex digits of a chunk's address.
func ParseHash(s string) (Hash, error) { return parseHash(s) }

// Parcel is a checkpoint on its way from one store to another: its manifest,
// and a way to its chunks. It is closed by whoever opened it.
type Parcel struct {
	forestall.Checkpoint
	Manifest []byte // the file; ID is its BLAKE3-256
	Chunks   []Hash // all that it needs, each once; nil: the manifest must be read to know
	// Fetch calls deliver with the file of each of the chunks, in any order and
	// from several goroutines at once; deliver does not keep the file. The first
	// error of either ends it, so does one chunk that is not to be had.
	Fetch func(ctx context.Context, chunks []Hash, deliver func(h Hash, file []byte) error) error
	// lacking returns the chunks that a store lacks, of which ask tells, going down
	// the tree; nil: Chunks must be asked for one by one.
	lacking func(ask func([]Hash) ([]Hash, error)) ([]Hash, error)
	// check tells why a chunk file is not that of the chunk; nil: nobody here can.
	check func(h Hash, file []byte) error
	// Release lets the store forget that the checkpoint is being read; may be nil.
	Release func()
}

// ReadHeader returns what a manifest file says of its checkpoint, whoever has its
// keys; its tree is not looked at.
func ReadHeader(id string, manifest []byte) (forestall.Checkpoint, error) {
	if manifestID(manifest) != id {
		return forestall.Checkpoint{}, corrupt("manifest "+id, "the content is not what the name says")
	}
	h, _, err := decodeHeader(manifest)
	if err != nil {
		return forestall.Checkpoint{}, corrupt("manifest "+id, "%v", err)
	}
	return h.checkpoint(id), nil
}

// Close ends the use of the parcel.
func (p *Parcel) Close() {
	if p.Release != nil {
		p.Release()
		p.Release = nil
	}
}

// Parcel opens a checkpoint of this store to be copied elsewhere. Its chunks
// are verified as they are read, and kept from GC until it is closed. Errors
// wrap [ErrNotFound] and [ErrCorrupt].
func (d *Dir) Parcel(id string) (*Parcel, error) {
	return d.parcel(id, d.sendVerified)
}

// parcel opens a checkpoint whose chunks send reads.
func (d *Dir) parcel(id string, send func(Hash, func(Hash, []byte) error) error) (*Parcel, error) {
	raw, err := d.manifestBytes(id)
	if err != nil {
		return nil, err
	}
	r, err := d.decodeRoot(d.manifestPath(id), raw)
	if err != nil {
		return nil, err
	}
	m, unpin, err := d.pinManifest(id)
	if err != nil {
		return nil, err
	}
	cp := m.checkpoint(id)
	d.mu.Lock()
	cp.Imported = d.imports[id]
	d.mu.Unlock()
	return &Parcel{
		lacking: func(ask func([]Hash) ([]Hash, error)) ([]Hash, error) { return d.lacking(r, ask) },
		check:   d.checkChunk,

		Checkpoint: cp,
		Manifest:   raw,
		Chunks:     append([]Hash{}, m.hashes()...),
		Release:    unpin,
		Fetch: func(ctx context.Context, chunks []Hash, deliver func(Hash, []byte) error) error {
			return parallel.Do(ctx, pushWorkers, len(chunks), func(_ context.Context, i int) error {
				return send(chunks[i], deliver)
			})
		},
	}, nil
}

// checkChunk tells why a chunk file is not that of the chunk.
func (d *Dir) checkChunk(h Hash, file []byte) error {
	buf := d.bufs.Get().(*[]byte)
	defer d.bufs.Put(buf)
	content, err := d.codec.decode((*buf)[:0], file, h)
	if err == nil {
		*buf = content
	}
	return err
}

// sendVerified is for receivers that cannot tell a chunk from its hash.
func (d *Dir) sendVerified(h Hash, deliver func(Hash, []byte) error) error {
	file, _, err := d.readStored(nil, h)
	if err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	if err := d.checkChunk(h, file); err != nil {
		if _, again := d.readChunk(nil, h); again != nil { // which moves it aside
			err = again
		}
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	return deliver(h, file)
}

// sendAsIs is for receivers that verify, as [Dir] does.
func (d *Dir) sendAsIs(h Hash, deliver func(Hash, []byte) error) error {
	file, _, err := d.readStored(nil, h)
	if err != nil {
		return fmt.Errorf("%w: %w", errLocal, err)
	}
	err = deliver(h, file)
	if errors.Is(err, ErrCorrupt) { // whose fault was it?
		if _, own := d.readChunk(nil, h); own != nil {
			return fmt.Errorf("%w: %w", errLocal, own)
		}
	}
	return err
}

// Take brings a checkpoint from elsewhere into this store, verified to the last
// byte. A fence does not stand in its way: to read old state is what recovery
// does. Chunks that came before an error are kept for the next attempt. Errors
// wrap [ErrCorrupt] when the parcel is not what its ID says, and [ErrKey] when it
// is in clear text and this store is encrypted.
//
// One whose Imported is set comes from outside of the cluster, and is no state of
// the runs whose checkpoints this store keeps: it does not stand in their way, is
// not the newest while there is one of theirs, and its age is that of the import.
func (d *Dir) Take(ctx context.Context, p *Parcel) error {
	_, err := d.take(ctx, p, false, nil)
	return err
}

// TakeKnown is Take for a checkpoint whose ID this node has from its cluster: one
// from before there were keys is let into an encrypted store too, because a
// recovery needs it. What is saved from it is sealed.
func (d *Dir) TakeKnown(ctx context.Context, p *Parcel) error {
	_, err := d.take(ctx, p, true, nil)
	return err
}

// take brings a checkpoint from elsewhere; old as for accept.
func (d *Dir) take(ctx context.Context, p *Parcel, old bool, refuse func(*lane, header) error) (forestall.Checkpoint, error) {
	m, err := d.takeTree(ctx, p, old)
	if err != nil {
		return forestall.Checkpoint{}, err
	}
	if err := d.takeChunks(ctx, p, d.receiver(m.sealed, old), m.hashes()); err != nil {
		return forestall.Checkpoint{}, err
	}
	if p.Imported.IsZero() || d.isDamaged(p.ID) { // what is mended is what it was
		return d.accept(p.ID, p.Manifest, old, refuse)
	}
	return d.accept(p.ID, p.Manifest, old, func(l *lane, h header) error {
		if refuse != nil {
			if err := refuse(l, h); err != nil {
				return err
			}
		}
		return d.noteImport(p.ID, p.Imported)
	})
}

// noteImport says, durably, that a checkpoint which is about to appear was imported.
func (d *Dir) noteImport(id string, at time.Time) error {
	h, err := parseHash(id)
	if err != nil {
		return err
	}
	if err := d.diskFull(d.catalogue.note(true, record{recordImport, h, uint64(at.UnixNano())})); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.imports[id] = at.UTC()
	return nil
}

// receiver takes in a chunk file.
type receiver = func(Hash, []byte) error

// receiver returns what takes in the chunks of a checkpoint that is sealed or not.
func (d *Dir) receiver(sealed, old bool) receiver {
	if old && !sealed {
		return d.receiveAny
	}
	return d.receive
}

// takeTree brings the blocks of a checkpoint's tree and reads it; old as for accept.
func (d *Dir) takeTree(ctx context.Context, p *Parcel, old bool) (*manifest, error) {
	if manifestID(p.Manifest) != p.ID {
		return nil, corrupt("manifest "+p.ID, "the content is not what the name says")
	}
	r, err := d.decodeRoot("manifest "+p.ID, p.Manifest)
	if err == nil && !old {
		err = d.refuseClear(r.sealed, "manifest "+p.ID)
	}
	if err != nil {
		return nil, err
	}
	if err := d.takeBlocks(ctx, p, d.receiver(r.sealed, old), r.level, r.top); err != nil {
		return nil, err
	}
	m, err := r.expand(d.peek)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", p.ID, err)
	}
	return m, nil
}

// takeBlocks brings the blocks of the tree, level by level.
func (d *Dir) takeBlocks(ctx context.Context, p *Parcel, receive receiver, level int, refs []ref) error {
	for {
		hashes := make([]hash, len(refs))
		for i, f := range refs {
			hashes[i] = f.hash
		}
		if err := d.takeChunks(ctx, p, receive, hashes); err != nil || level == 0 {
			return err
		}
		var below []ref
		for _, h := range hashes {
			block, err := d.peek(nil, h)
			if err != nil {
				return err
			}
			next, err := decodeIndex(block, level)
			if err != nil {
				return corrupt("tree block "+h.String(), "%v", err)
			}
			if below = append(below, next...); len(below) > maxTree {
				return corrupt("tree block "+h.String(), "the tree has more than %d blocks", maxTree)
			}
		}
		level, refs = level-1, below
	}
}

// takeChunks brings those of the chunks that are not here.
func (d *Dir) takeChunks(ctx context.Context, p *Parcel, receive receiver, hashes []hash) error {
	missing, err := d.missing(hashes)
	if err != nil || len(missing) == 0 {
		return err
	}
	return p.Fetch(ctx, missing, receive)
}
