package checkpoint

import (
	"bytes"
	"sort"
)

// Databases and memory files are rewritten page by page in place. Cut by
// content, each changed page costs its chunk. So a chunk of a file that the store
// does not have is first compared, page by page, with what the previous
// checkpoint has at that place: where most of it is the same, only the pages
// that differ are kept, packed densely, as in an increment of a region. That
// reads and decompresses the old chunks, which costs a quarter of compressing
// the new one.
//
// A chunk that was patched is in no chunk of the store as a whole, so when
// something is inserted before it, its hash does not find it. Therefore "that
// place" moves with the content: by as much as the last chunk that was found has
// moved, or as the file has grown.

// patcher is one worker's.
type patcher struct {
	d     *Dir
	b     *batch
	cache chunkCache
	old   []byte
	zero  *extent   // all of a chunk of zeros, once there was a hole
	dense []byte    // pages of the next chunk
	fixes []*extent // that are to name it
}

// fromPatch is the shortest chunk for which it pays.
const fromPatch = 2 * splitPage

// base is what the previous checkpoint has of a file.
type base struct {
	extents []extent
	starts  []int64 // of each extent, and the file's size
	worn    map[hash]bool
	places  map[hash]int64 // where a whole chunk is

	// What follows changes, and belongs to the cutting's lock.
	tries, hits int   // chunks compared, and patched
	moved       int64 // by how much the content last found had moved
}

// usedInPart says how many bytes the previous checkpoint's files use of each chunk
// of which one that is read again uses a part: pages of many files lie in one
// chunk.
func usedInPart(p *plan) map[hash]uint64 {
	used := make(map[hash]uint64)
	for _, t := range p.todo {
		for _, x := range t.base {
			if x.length < x.size {
				used[x.hash] = 0
			}
		}
	}
	count := func(extents []extent) {
		for _, x := range extents {
			if n, ok := used[x.hash]; ok {
				used[x.hash] = n + uint64(x.length)
			}
		}
	}
	for _, t := range p.todo {
		count(t.base)
	}
	for i := range p.m.entries { // those that are read have no extents yet
		if len(used) > 0 {
			count(p.m.entries[i].extents)
		}
	}
	return used
}

// newBase returns nil when there is nothing to compare with, or too little. used is what all
// files use of chunks.
func newBase(extents []extent, used map[hash]uint64) *base {
	var size int64
	for _, x := range extents {
		size += int64(x.length)
	}
	if size < fromPatch {
		return nil
	}
	s := &base{extents: extents, starts: make([]int64, 0, len(extents)+1), worn: make(map[hash]bool), places: make(map[hash]int64)}
	var at int64
	for _, x := range extents {
		s.starts = append(s.starts, at)
		if x.length == x.size {
			s.places[x.hash] = at
		}
		at += int64(x.length)
		if n, ok := used[x.hash]; ok && n*rewriteBelow < uint64(x.size) {
			s.worn[x.hash] = true
		}
	}
	s.starts = append(s.starts, at)
	return s
}

func (s *base) size() int64 { return s.starts[len(s.starts)-1] }

// between returns the extents that hold n bytes of the file from at on, fewer at
// its end.
func (s *base) between(at, n int64) (out []extent) {
	n = min(n, s.size()-at)
	for i := sort.Search(len(s.extents), func(i int) bool { return s.starts[i+1] > at }); n > 0; i++ {
		x := s.extents[i]
		skip := uint32(at - s.starts[i])
		x.offset, x.length = x.offset+skip, uint32(min(n, int64(x.length-skip)))
		out = append(out, x)
		at, n = at+int64(x.length), n-int64(x.length)
	}
	return out
}

// worth reports whether comparing has paid so far.
func (s *base) worth() bool { return s != nil && s.tries < 8+8*s.hits }

// patch returns the extents of piece, if most of it is what the base has from at
// on.
func (p *patcher) patch(s *base, piece []byte, at int64) ([]extent, bool, error) {
	old := s.between(at, int64(len(piece)))
	same, ok := p.read(s, old, len(piece))
	if !ok {
		return nil, false, nil
	}
	var dirty []PageRange
	changed := 0
	for from := 0; from < len(piece); {
		to := min(from+splitPage-int((at+int64(from))%splitPage), len(piece))
		if to > len(same) || !bytes.Equal(piece[from:to], same[from:to]) {
			dirty = append(dirty, PageRange{int64(from), int64(to - from)})
			if changed += to - from; changed*2 > len(piece) {
				return nil, false, nil
			}
		}
		from = to
	}
	dirty = append(dirty, wornRanges(s, old)...)
	dirty, err := normalize(dirty, int64(len(piece)))
	if err != nil {
		return nil, false, err
	}
	written, err := p.pack(piece, dirty)
	if err != nil {
		return nil, false, err
	}
	out, err := overlay(keep(old, dirty, int64(len(piece))), written)
	if err != nil {
		return nil, false, err
	}
	for i := range out {
		if out[i].size == 0 {
			p.fixes = append(p.fixes, &out[i])
		}
	}
	return out, true, nil
}

// wornRanges returns where the extents are of worn chunks.
func wornRanges(s *base, old []extent) (out []PageRange) {
	var at int64
	for _, x := range old {
		if s.worn[x.hash] {
			out = append(out, PageRange{at, int64(x.length)})
		}
		at += int64(x.length)
	}
	return out
}

// read returns what the extents hold, at most n bytes; not ok when they cannot
// be read.
func (p *patcher) read(s *base, old []extent, n int) ([]byte, bool) {
	p.old = sized(p.old, n)[:0]
	for _, x := range old {
		if s.worn[x.hash] { // written anew, whatever it holds
			p.old = append(p.old, make([]byte, x.length)...)
			continue
		}
		content, err := p.cache.get(p.d, x.ref)
		if err != nil || uint64(x.offset)+uint64(x.length) > uint64(len(content)) {
			return nil, false
		}
		p.old = append(p.old, content[x.offset:x.offset+x.length]...)
	}
	return p.old, true
}

// pack takes the dirty ranges of piece into the chunk that is being filled. The
// extents name it once it is full.
func (p *patcher) pack(piece []byte, dirty []PageRange) (written []placed, err error) {
	n := 0
	for _, r := range dirty {
		n += int(r.Length)
	}
	if len(p.dense) > 0 && len(p.dense)+n > p.d.opt.ChunkSize {
		if err := p.flush(); err != nil {
			return nil, err
		}
	}
	for _, r := range dirty {
		written = append(written, placed{extent{offset: uint32(len(p.dense)), length: uint32(r.Length)}, r.Offset})
		p.dense = append(p.dense, piece[r.Offset:r.end()]...)
	}
	return written, nil
}

// flush keeps the chunk that is being filled.
func (p *patcher) flush() error {
	if len(p.dense) == 0 {
		return nil
	}
	h, err := p.b.add(p.dense)
	for _, x := range p.fixes {
		x.ref = ref{h, uint32(len(p.dense))}
	}
	p.dense, p.fixes = p.dense[:0], p.fixes[:0]
	return err
}

// chunkCache keeps the contents of the chunks used last.
type chunkCache struct {
	used  []cachedChunk // the last used last
	bytes int
}

type cachedChunk struct {
	hash    hash
	content []byte
}

// maxCached bounds a cache: a file's old pages are spread over the chunks of
// many increments, and each of those is read front to back.
const maxCached = 32 << 20

func (c *chunkCache) get(d *Dir, f ref) ([]byte, error) {
	for i := len(c.used) - 1; i >= 0; i-- {
		if u := c.used[i]; u.hash == f.hash {
			copy(c.used[i:], c.used[i+1:])
			c.used[len(c.used)-1] = u
			return u.content, nil
		}
	}
	var buf []byte
	for len(c.used) > 0 && c.bytes+int(f.size) > maxCached {
		buf = c.used[0].content
		c.bytes -= len(buf)
		c.used = append(c.used[:0], c.used[1:]...)
	}
	content, err := d.readChunk(buf, f.hash)
	if err != nil {
		return nil, err
	}
	c.used = append(c.used, cachedChunk{f.hash, content})
	c.bytes += len(content)
	return content, nil
}
