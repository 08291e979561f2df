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
	index := make(map[hash]int)
	for i, e := range entries {
		var at int64
		for _, x := range e.extents {
			u, ok := index[x.hash]
			if !ok {
				u = len(uses)
				index[x.hash] = u
				uses = append(uses, use{ref: x.ref})
			}
			uses[u].places = append(uses[u].places, place{i, at, x.offset, x.length})
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
