package checkpoint

import (
	"context"
	"fmt"
)

// use is everything that some files take from one chunk, so that restoring
// reads each chunk once however its extents are scattered.
type use struct {
	ref
	places []place
}

// place is where an extent goes.
type place struct {
	entry          int // index of its file
	at             int64
	offset, length uint32
}

// usesOf lists the chunks of the files among entries in the order of their
// first use.
func usesOf(entries []entry) (uses []use) {
	index := make(map[hash]int32)
	total := 0
	for _, e := range entries {
		total += len(e.extents)
		for _, x := range e.extents {
			if _, ok := index[x.hash]; !ok {
				index[x.hash] = int32(len(uses))
				uses = append(uses, use{ref: x.ref})
			}
		}
	}
	// All places in one piece of memory, those of each chunk one after another.
	count := make([]int32, len(uses))
	for _, e := range entries {
		for _, x := range e.extents {
			count[index[x.hash]]++
		}
	}
	places := make([]place, total)
	for i, n := range count {
		uses[i].places, places = places[:0:n], places[n:]
	}
	for i, e := range entries {
		var at int64
		for _, x := range e.extents {
			u := &uses[index[x.hash]]
			u.places = append(u.places, place{i, at, x.offset, x.length})
			at += int64(x.length)
		}
	}
	return uses
}

// writeUse reads a chunk and writes its pieces.
func (d *Dir) writeUse(ctx context.Context, u use, write func(entry int, b []byte, at int64) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	buf := d.bufs.Get().(*[]byte)
	defer d.bufs.Put(buf)
	content, err := d.readChunk((*buf)[:0], u.hash)
	if err != nil {
		return err
	}
	*buf = content
	if len(content) != int(u.size) {
		return corrupt("chunk "+u.hash.String(), "holds %d bytes, the tree says %d", len(content), u.size)
	}
	for _, p := range u.places {
		if err := write(p.entry, content[p.offset:p.offset+p.length], p.at); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}
