package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint/seal"
)

// Snapshot says what to save.
type Snapshot struct {
	Workload string
	Epoch    forestall.Epoch // of the run that wrote the state
	Sequence uint64          // 0: one more than the newest of the workload in this store
	Label    string          // at most 1 KiB
	Source   string          // the state directory
	Level    int             // of zstd, 1 to 22, whatever the store's compression; 0: the store's; LevelNone: raw
	Time     time.Time       // the moment whose state it holds; zero: now
	// Verify has every chunk that the checkpoint shares with earlier ones read
	// and verified before it counts; what is damaged is read from the source and
	// written anew. Without it the checkpoint relies on chunks whose packs are
	// there and untouched, and on the scrub for what the disk does to them.
	Verify bool
}

// Save keeps the directory tree at s.Source as a checkpoint, which either
// exists whole and durable when Save returns, or not at all. The tree must
// stand still meanwhile: [ErrChanged] when it does not. Files that have rested
// since the previous checkpoint are not read, chunks that the store has are not
// written. Symbolic links are kept as links, wherever they lead. Sockets, pipes and
// devices are not kept; the checkpoint returned names them (LeftOut). Errors wrap [forestall.ErrStaleEpoch] when the epoch is below the
// fence, [ErrNotNewer] when the store has a later checkpoint of the workload,
// [ErrStoreInTheWay] when this store lies in the source or holds it, [ErrDiskFull], [ErrTooLarge].
func (d *Dir) Save(ctx context.Context, s Snapshot) (forestall.Checkpoint, error) {
	p, err := d.plan(ctx, s)
	if err != nil {
		return forestall.Checkpoint{}, s.wrap(err)
	}
	defer p.end()
	cp, err := d.execute(ctx, p)
	return cp, s.wrap(err)
}

func (s Snapshot) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("checkpoint %s from %s: %w", s.Workload, s.Source, err)
}

// plan is a snapshot on its way: the tree, and what of it is to be read.
type plan struct {
	m     *manifest
	base  string // ID of the workload's checkpoint before; "": none
	began time.Time
	todo  []content
	left  forestall.LeftOut
	batch *batch

	losses uint64 // of the store when it began
}

func (p *plan) end() { p.batch.end() }

// plan refuses what cannot become a checkpoint and scans the tree.
func (d *Dir) plan(ctx context.Context, s Snapshot) (*plan, error) {
	p, source, prev, err := d.prepare(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := p.scan(ctx, source, prev, p.began, true); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// prepare is plan without the scan: it returns where to scan, and the files of
// the previous checkpoint on which this one may lean.
func (d *Dir) prepare(ctx context.Context, s Snapshot) (p *plan, source string, prev leanable, err error) {
	if s.Source == "" {
		return nil, "", nil, errors.New("the source directory is not given")
	}
	if source, err = filepath.EvalSymlinks(s.Source); err != nil {
		return nil, "", nil, err
	}
	if fi, err := os.Stat(source); err != nil {
		return nil, "", nil, err
	} else if !fi.IsDir() {
		return nil, "", nil, fmt.Errorf("%s is not a directory", source)
	}
	if err := d.outside(source); err != nil {
		return nil, "", nil, err
	}
	p, err = d.planCheckpoint(header{workload: s.Workload, epoch: s.Epoch, sequence: s.Sequence, label: s.Label}, s.Time, s.Level, s.Verify)
	if err != nil {
		return nil, "", nil, err
	}
	d.tellUntrusted(source)
	if newest, known := d.newest(s.Workload); known {
		p.base = newest.ID
		if prev, err = d.reusable(ctx, newest.ID, p.batch); err != nil {
			p.end()
			return nil, "", nil, err
		}
	}
	return p, source, prev, nil
}

// scan lists the tree at source as of now; still as for the function.
func (p *plan) scan(ctx context.Context, source string, prev leanable, now time.Time, still bool) (err error) {
	p.m.entries, p.todo = nil, nil // of an earlier scan, which may be large
	if p.m.entries, p.todo, p.left, err = scan(ctx, source, now, prev, still); err != nil {
		return err
	}
	p.m.size = 0
	for _, e := range p.m.entries {
		p.m.size += e.size
	}
	return nil
}

// planCheckpoint begins a checkpoint whose header is h, at its time, and
// refuses what could not be committed.
func (d *Dir) planCheckpoint(h header, at time.Time, level int, verify bool) (*plan, error) {
	now, losses := d.opt.Now(), d.wholes.count()
	if at.IsZero() {
		at = now
	}
	h.time = at.UnixNano()
	if h.sequence == 0 {
		newest, _ := d.newest(h.workload)
		h.sequence = newest.Sequence + 1
	}
	if err := h.validate(); err != nil {
		return nil, err
	}
	if err := d.mayCommit(h); err != nil {
		return nil, err
	}
	b, err := d.newBatch(level, verify)
	if err != nil {
		return nil, err
	}
	return &plan{m: &manifest{header: h}, began: now, batch: b, losses: losses}, nil
}

// mayCommit reports early what commit would refuse.
func (d *Dir) mayCommit(h header) error {
	l := d.lane(h.workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	return d.admitNew(l, h)
}

// admitNew refuses a stale epoch and a checkpoint that is not the newest. The
// caller holds l.mu.
func (d *Dir) admitNew(l *lane, h header) error {
	if err := l.admit(h.workload, h.epoch); err != nil {
		return err
	}
	if newest, ok := d.newest(h.workload); ok && !h.checkpoint("").NewerThan(newest) {
		return fmt.Errorf("%w: sequence %d of epoch %s does not follow %d of epoch %s, checkpoint %.12s",
			ErrNotNewer, h.sequence, h.epoch, newest.Sequence, newest.Epoch, newest.ID)
	}
	return nil
}

// reusable returns the files of a checkpoint whose chunks are all in the
// store, held by b. A checkpoint that cannot be read has none: everything is
// read again.
func (d *Dir) reusable(ctx context.Context, id string, b *batch) (leanable, error) {
	m, err := d.holdManifest(id, b.hold)
	if err != nil {
		d.opt.Logger.Warn("previous checkpoint cannot serve as a base", "error", err)
		return nil, nil
	}
	if d.opt.Keys != nil && !m.sealed {
		d.opt.Logger.Info("everything is read again: the previous checkpoint is not encrypted", "workload", m.workload)
		return nil, nil
	}
	if err := b.rely.all(ctx, m.hashes); err != nil {
		return nil, err
	}
	for i, e := range m.entries {
		for _, x := range e.extents {
			ok, err := b.rely.on(x.hash)
			if err != nil {
				return nil, err
			}
			if !ok {
				m.entries[i].kind = 0
				break
			}
		}
	}
	return m.entries, nil
}

// execute reads what is to be read and commits.
func (d *Dir) execute(ctx context.Context, p *plan) (forestall.Checkpoint, error) {
	if err := d.readAll(ctx, p); err != nil {
		return forestall.Checkpoint{}, err
	}
	return d.finish(ctx, p)
}

// finish keeps the tree of a plan whose files are in the store, and commits.
func (d *Dir) finish(ctx context.Context, p *plan) (_ forestall.Checkpoint, err error) {
	defer func() {
		if err != nil {
			d.waste.Add(1)
		}
	}()
	level, top, err := writeTree(p.m.entries, p.batch.add)
	if err != nil {
		return forestall.Checkpoint{}, err
	}
	if err := p.batch.publish(); err != nil {
		return forestall.Checkpoint{}, err
	}
	if err := ctx.Err(); err != nil {
		return forestall.Checkpoint{}, err
	}
	p.m.took = max(0, d.opt.Now().Sub(p.began))
	p.m.left = int64(p.left.Count)
	r := root{header: p.m.header, level: level, top: top, names: p.left.First}
	b := r.encodeWith(p.batch.bytes, d.opt.Keys)
	cp, err := d.commit(manifestID(b), b, r.header, d.admitNew)
	if err == nil {
		d.wholes.note(cp.ID, p.losses)
	}
	cp.LeftOut = p.left
	return cp, err
}

// encodeWith writes the manifest of a checkpoint for which packs of so many bytes
// were written. What it adds itself is in it too.
func (r *root) encodeWith(packs int64, keys *seal.Keyring) (b []byte) {
	b = r.encode(keys)
	for range 2 { // a longer number may make the manifest a byte longer
		r.added = packs + int64(len(b))
		b = r.encode(keys)
	}
	return b
}

// commit makes the bytes of a manifest visible and durable unless refuse objects.
// Its chunks are durable already and held by the caller.
func (d *Dir) commit(id string, b []byte, h header, refuse func(*lane, header) error) (forestall.Checkpoint, error) {
	l := d.lane(h.workload)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := refuse(l, h); err != nil {
		return forestall.Checkpoint{}, err
	}
	if err := d.takeBack(l); err != nil {
		return forestall.Checkpoint{}, err
	}
	if err := d.replace(d.manifestPath(id), b); err != nil {
		if !d.isDamaged(id) { // or it has been acknowledged before
			l.doubt = id
		}
		return forestall.Checkpoint{}, errors.Join(err, d.takeBack(l))
	}
	if err := d.note(recordAdd, id, h.workload); err != nil {
		d.opt.Logger.Warn("the catalogue lacks a checkpoint until the next start", "checkpoint", id, "error", err)
	}
	cp := h.checkpoint(id)
	d.mu.Lock()
	defer d.mu.Unlock()
	cp.Imported = d.imports[id]
	d.checkpoints[id] = cp
	delete(d.damaged, id)
	return cp, nil
}

// takeBack makes sure that the checkpoint whose commit failed, if there is one,
// does not appear after all: its manifest may have its name already. As long as
// that cannot be done the workload has no new checkpoint and no higher fence. The
// caller holds l.mu.
func (d *Dir) takeBack(l *lane) error {
	if l.doubt == "" {
		return nil
	}
	path := d.manifestPath(l.doubt)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		// With this on the disk the next start removes the file, if it comes to that.
		if err := d.note(recordDrop, l.doubt, ""); err != nil {
			return fmt.Errorf("take back checkpoint %.12s, whose commit failed: %w", l.doubt, err)
		}
		if err := d.removeDurably(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			d.opt.Logger.Warn("the manifest of a checkpoint whose commit failed is removed at the next start", "error", err)
		}
	}
	l.doubt = ""
	return nil
}

func (d *Dir) isDamaged(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.damaged[id] != nil
}
