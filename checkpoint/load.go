package checkpoint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// loadPacks reads the index of every pack. What was found rotten before is left
// out.
func (d *Dir) loadPacks() error {
	bad, err := d.knownRot()
	if err != nil {
		return err
	}
	names, err := os.ReadDir(d.packs.dir)
	if err != nil {
		return fmt.Errorf("list packs: %w", err)
	}
	for _, e := range names {
		id, err := parseHash(e.Name())
		if err != nil {
			d.opt.Logger.Warn("foreign file among the packs", "path", filepath.Join(d.packs.dir, e.Name()))
			continue
		}
		err = d.loadPack(id, bad)
		if d.reader != nil && errors.Is(err, fs.ErrNotExist) {
			continue // what is needed of it is in another by now
		}
		if err != nil {
			return fmt.Errorf("open pack: %w", err)
		}
	}
	return nil
}

// loadPack reads the index of a pack. One whose index cannot be trusted is read from
// end to end for the chunks that can; one that the disk cannot read besides is left as
// it is, for a time when it can. bad is what was found rotten.
func (d *Dir) loadPack(id hash, bad map[string]bool) error {
	path := d.packs.path(id)
	chunks, pack, err := d.readPackEnd(path)
	pack.id = id
	unread := errors.Is(err, syscall.EIO)
	if unread || errors.Is(err, ErrCorrupt) {
		d.opt.Logger.Error("pack is damaged; what can be read of it is kept", "error", err)
		b, holes, rerr := d.readAround(path)
		if rerr != nil {
			return fmt.Errorf("read pack: %w", rerr)
		}
		unread = unread || holes
		chunks, pack.broken, err = salvage(b), !unread, nil
	}
	if err != nil {
		return err
	}
	pack.count(chunks)
	number := d.packs.add(pack)
	for _, c := range chunks {
		if !bad[c.hash.String()+"."+id.String()] {
			d.index.put(c.hash, number, c.at, int(c.size))
		}
	}
	if !unread {
		d.packs.indexed(number)
	}
	return nil
}

// knownRot returns the names HASH.PACK of what lies in corrupt/.
func (d *Dir) knownRot() (map[string]bool, error) {
	names, err := os.ReadDir(filepath.Join(d.path, rotDir))
	if err != nil {
		return nil, fmt.Errorf("list corrupt chunks: %w", err)
	}
	bad := make(map[string]bool)
	for _, e := range names {
		if strings.Contains(e.Name(), ".") {
			bad[e.Name()] = true
		}
	}
	return bad, nil
}

// rotKept is for how long what was put aside is kept for whoever wants to look.
const rotKept = 30 * 24 * time.Hour

// removeOldRot removes what was put aside long ago, except chunks of packs that
// are still there: their names keep the next start from taking them for good.
func (d *Dir) removeOldRot() error {
	dir := filepath.Join(d.path, rotDir)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list corrupt chunks: %w", err)
	}
	for _, e := range names {
		fi, err := e.Info()
		if err != nil {
			continue
		}
		since := time.Unix(0, max(fi.ModTime().UnixNano(), identOf(fi).ctime)) // a renamed file keeps its time of modification
		if d.opt.Now().Sub(since) < rotKept {
			continue
		}
		if _, pack, ok := strings.Cut(e.Name(), "."); ok {
			if _, err := os.Lstat(filepath.Join(d.packs.dir, pack)); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		if err := d.fs.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// loadLoose finds the chunks of version 1.
func (d *Dir) loadLoose() error {
	return d.eachLoose(func(h hash, fi fs.FileInfo) error {
		if fi.Size() <= sizeMask {
			d.index.put(h, looseChunk, 0, int(fi.Size()))
		}
		return nil
	})
}

// eachLoose visits the chunk files of version 1; ones that vanish meanwhile are
// skipped.
func (d *Dir) eachLoose(visit func(hash, fs.FileInfo) error) error {
	shards, err := os.ReadDir(filepath.Join(d.path, chunkDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list chunks: %w", err)
	}
	for _, shard := range shards {
		files, err := os.ReadDir(filepath.Join(d.path, chunkDir, shard.Name()))
		if err != nil {
			return fmt.Errorf("list chunks: %w", err)
		}
		for _, f := range files {
			h, err := parseHash(f.Name())
			if err != nil {
				continue
			}
			fi, err := f.Info()
			if err != nil {
				continue
			}
			if err := visit(h, fi); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadManifests reads the headers of the manifests. One that cannot be read is
// left out; one that the catalogue lists and that has gone is missed; one that
// it says was dropped is removed.
func (d *Dir) loadManifests(known stock) error {
	dir := filepath.Join(d.path, manifestDir)
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list checkpoints: %w", err)
	}
	removed := false
	for _, e := range names {
		id, err := parseHash(e.Name())
		if err != nil {
			d.opt.Logger.Warn("foreign file among the manifests", "path", d.manifestPath(e.Name()))
			continue
		}
		kept, listed := known.manifests[id]
		if listed && !kept {
			err := d.fs.Remove(d.manifestPath(e.Name()))
			if errors.Is(err, ErrReadOnly) { // its engine is about to
				continue
			}
			if err != nil {
				return fmt.Errorf("remove dropped checkpoint: %w", err)
			}
			removed = true
			continue
		}
		if known.read && !listed {
			d.opt.Logger.Warn("checkpoint was not in the catalogue", "checkpoint", e.Name())
		}
		h, err := d.readHeader(e.Name())
		if d.reader != nil && errors.Is(err, fs.ErrNotExist) {
			continue // dropped, if the catalogue says so by now
		}
		delete(known.manifests, id)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			err = corrupt(d.manifestPath(e.Name()), "%v", err)
		}
		if err != nil {
			d.opt.Logger.Error("checkpoint left out: its manifest cannot be read", "error", err)
			d.damaged[e.Name()] = err
			continue
		}
		d.checkpoints[e.Name()] = h.checkpoint(e.Name())
	}
	if err := d.forgetDropped(known.manifests); err != nil {
		return err
	}
	for id, kept := range known.manifests {
		if kept {
			err := corrupt(d.manifestPath(id.String()), "the manifest has vanished; fetch the checkpoint from a replica or delete it")
			d.opt.Logger.Error("checkpoint is lost", "error", err)
			d.damaged[id.String()] = err
		}
	}
	for id, p := range known.pins {
		_, there := d.checkpoints[id.String()]
		if there || d.damaged[id.String()] != nil {
			d.pins[id.String()] = p
		}
	}
	for id, at := range known.imports {
		cp, there := d.checkpoints[id.String()]
		if there || d.damaged[id.String()] != nil {
			d.imports[id.String()] = time.Unix(0, int64(at)).UTC()
		}
		if there {
			cp.Imported = d.imports[id.String()]
			d.checkpoints[id.String()] = cp
		}
	}
	for id := range d.damaged {
		h, _ := parseHash(id) // it is one
		d.owners[h] = known.owners[h]
	}
	if !removed {
		return nil
	}
	return d.fs.SyncDir(dir)
}

// inventory returns the records of a catalogue of what is there, and of what is
// missed.
func (d *Dir) inventory(known stock) (records []record) {
	add := func(id string, owner uint64) {
		if h, err := parseHash(id); err == nil {
			records = append(records, record{recordAdd, h, owner})
		}
	}
	for id, cp := range d.checkpoints {
		add(id, ownerTag(cp.Workload))
	}
	for id := range d.damaged {
		h, _ := parseHash(id) // it is one
		add(id, d.owners[h])
	}
	for _, p := range d.pins {
		if r, err := p.record(); err == nil {
			records = append(records, r)
		}
	}
	for id, at := range d.imports {
		if h, err := parseHash(id); err == nil {
			records = append(records, record{recordImport, h, uint64(at.UnixNano())})
		}
	}
	if d.opt.Keys != nil {
		records = append(records, keyringRecord(d.opt.Keys.Set()))
	}
	fences := maps.Clone(known.fences)
	for workload, l := range d.lanes {
		if l.bad == nil && l.fence > 0 {
			fences[nameHash(workload)] = max(fences[nameHash(workload)], l.fence)
		}
	}
	for name, e := range fences {
		records = append(records, record{recordFence, name, uint64(e)})
	}
	slices.SortFunc(records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), bytes.Compare(a.id[:], b.id[:]))
	})
	return records
}
