package checkpoint

import "encoding/binary"

// chunkTable codes the extents of one block: a chunk is written out where it is
// first used and named in a byte or two afterwards, its offset as the distance
// from where its last use ended. An incremental checkpoint of a region mostly
// alternates between an old chunk and a new one, each read front to back, which
// takes about five bytes an extent before compression.
type chunkTable struct {
	chunks        []tableChunk
	current, prev int         // the chunks used last and before; -1: none
	place         map[ref]int // of the writer
}

type tableChunk struct {
	ref
	next uint32 // where its last use ended
}

// How an extent names its chunk.
const (
	chunkSame = 0 // as the extent before
	chunkNew  = 1 // written out
	chunkPrev = 2 // the last one that differs from the current
	chunkAt   = 3 // and above: by number
)

// minExtent is the fewest bytes an extent takes.
const minExtent = 3

func (t *chunkTable) reset() {
	t.chunks, t.current, t.prev = t.chunks[:0], -1, -1
	if t.place == nil {
		t.place = make(map[ref]int)
	}
	clear(t.place)
}

func (t *chunkTable) use(i int) *tableChunk {
	if i != t.current {
		t.current, t.prev = i, t.current
	}
	return &t.chunks[i]
}

// append encodes e.
func (t *chunkTable) append(b []byte, e extent) []byte {
	i, known := t.place[e.ref]
	switch {
	case !known:
		i = len(t.chunks)
		t.place[e.ref] = i
		t.chunks = append(t.chunks, tableChunk{ref: e.ref})
		b = append(b, chunkNew)
		b = append(b, e.hash[:]...)
		b = binary.AppendUvarint(b, uint64(e.size))
	case i == t.current:
		b = append(b, chunkSame)
	case i == t.prev:
		b = append(b, chunkPrev)
	default:
		b = binary.AppendUvarint(b, uint64(chunkAt+i))
	}
	c := t.use(i)
	b = binary.AppendVarint(b, int64(e.offset)-int64(c.next))
	b = binary.AppendUvarint(b, uint64(e.length))
	c.next = e.offset + e.length
	return b
}

// read decodes an extent; r is bad when there is none. The caller validates it.
func (t *chunkTable) read(r *reader) extent {
	if t.chunks == nil {
		t.current, t.prev = -1, -1
	}
	var i int
	switch code := r.uvarint(); code {
	case chunkSame:
		i = t.current
	case chunkNew:
		i = len(t.chunks)
		t.chunks = append(t.chunks, tableChunk{ref: r.ref()})
	case chunkPrev:
		i = t.prev
	default:
		if code-chunkAt >= uint64(len(t.chunks)) {
			r.fail()
			return extent{}
		}
		i = int(code - chunkAt)
	}
	if r.bad || i < 0 {
		r.fail()
		return extent{}
	}
	c := t.use(i)
	offset, length := int64(c.next)+r.varint(), r.uvarint()
	if offset < 0 || offset > maxChunkSize || length > maxChunkSize {
		r.fail()
		return extent{}
	}
	c.next = uint32(offset) + uint32(length)
	return extent{c.ref, uint32(offset), uint32(length)}
}
