package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// A block is a piece of a tree, kept as a chunk: magic, version (1 byte), level
// (1 byte), and then entries at level 0 or, above, the blocks of the level
// below. Where blocks end depends on what they hold, not on where it lies, so
// that equal parts of two trees are equal blocks.
// docs/format/checkpoint.md has the fields.
const (
	blockMagic     = "FTRB"
	blockVersion   = 1
	blockOwned     = 2 // at level 0: each entry has its owner
	blockHeaderLen = len(blockMagic) + 2
	maxLevel       = 8
	maxTree        = 1 << 28 // entries and extents of one checkpoint
)

// Where blocks are cut.
const (
	entriesPerBlock = 256     // on average: after an entry whose path's CRC-32C is divisible by it
	maxBlock        = 1 << 20 // bytes at which a block ends whatever it holds
	extentsPerPart  = 4096    // on average: a longer list is cut after a chunk whose hash is divisible by it
	maxPart         = 4 * extentsPerPart
	refsPerBlock    = 64 // on average, by the hash of the block
	maxRefs         = 4 * refsPerBlock
)

// blockWriter encodes entries into blocks of level 0.
type blockWriter struct {
	emit func(block []byte) error

	b     []byte
	last  string // path of the entry before, in this block
	owner owner  // and whose it is
	owned bool   // the block is of version 2
	table chunkTable
}

// begin starts a block, unless one is begun that can have the entry.
func (w *blockWriter) begin(owned bool) error {
	if len(w.b) > 0 && w.owned != owned {
		if err := w.end(); err != nil {
			return err
		}
	}
	if len(w.b) > 0 {
		return nil
	}
	version := byte(blockVersion)
	if owned {
		version = blockOwned
	}
	w.b = append(w.b, blockMagic...)
	w.b = append(w.b, version, 0)
	w.last, w.owner, w.owned = "", owner{}, owned
	w.table.reset()
	return nil
}

// end emits what has been begun.
func (w *blockWriter) end() error {
	if len(w.b) == 0 {
		return nil
	}
	err := w.emit(w.b)
	w.b = w.b[:0]
	return err
}

// add appends an entry and ends the block where one ends. A long list of
// extents goes on in blocks of its own.
func (w *blockWriter) add(e entry) error {
	if err := w.begin(e.owner.known); err != nil {
		return err
	}
	shared := sharedPrefix(w.last, e.path)
	w.last = e.path
	w.b = append(w.b, byte(e.kind))
	w.b = binary.AppendUvarint(w.b, uint64(shared))
	w.b = appendString(w.b, e.path[shared:])
	w.b = binary.AppendUvarint(w.b, uint64(e.mode))
	w.b = binary.AppendVarint(w.b, e.mtime)
	if w.owned {
		w.b = e.owner.append(w.b, w.owner)
		w.owner = e.owner
	}
	cut := crc32.Checksum([]byte(e.path), castagnoli)%entriesPerBlock == 0
	switch e.kind {
	case kindSymlink:
		w.b = appendString(w.b, e.target)
	case kindFile:
		w.b = binary.AppendUvarint(w.b, uint64(e.size))
		w.b = binary.AppendUvarint(w.b, e.ident.dev)
		w.b = binary.AppendUvarint(w.b, e.ident.ino)
		w.b = binary.AppendVarint(w.b, e.ident.ctime)
		part, rest := firstPart(e.extents)
		w.part(part)
		for len(rest) > 0 {
			if err := w.end(); err != nil {
				return err
			}
			if err := w.begin(e.owner.known); err != nil {
				return err
			}
			part, rest = firstPart(rest)
			w.b = append(w.b, byte(kindMore))
			w.part(part)
			cut = true
		}
	}
	if cut || len(w.b) >= maxBlock {
		return w.end()
	}
	return nil
}

// append writes an owner, in one byte where it is that of the entry before.
func (o owner) append(b []byte, before owner) []byte {
	if o == before {
		return append(b, 0)
	}
	b = binary.AppendUvarint(append(b, 1), uint64(o.uid))
	return binary.AppendUvarint(b, uint64(o.gid))
}

func (w *blockWriter) part(extents []extent) {
	w.b = binary.AppendUvarint(w.b, uint64(len(extents)))
	for _, e := range extents {
		w.b = w.table.append(w.b, e)
	}
}

// firstPart cuts a file's extents where a block ends.
func firstPart(extents []extent) (part, rest []extent) {
	for i, e := range extents {
		if i >= extentsPerPart/4 && binary.LittleEndian.Uint32(e.hash[:])%extentsPerPart == 0 || i+1 >= maxPart {
			return extents[:i+1], extents[i+1:]
		}
	}
	return extents, nil
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// blockReader decodes blocks of level 0, in order, into entries.
type blockReader struct {
	entries []entry
	extents int  // of all entries
	part    bool // of the tree: it may begin amid a file's extents
}

// add decodes one block. Errors do not name it.
func (br *blockReader) add(block []byte) error {
	version, level, body, err := blockHeader(block)
	if err != nil {
		return err
	}
	if level != 0 {
		return fmt.Errorf("is a block of level %d where entries are expected", level)
	}
	r := reader{b: body}
	var table chunkTable
	var last entry // in this block
	if len(r.b) == 0 {
		return errors.New("block is empty")
	}
	for first := true; len(r.b) > 0; first = false {
		kind := entryKind(r.bytes(1)[0])
		if kind == kindMore {
			if err := br.more(&r, &table, first); err != nil {
				return err
			}
			continue
		}
		e := r.treeEntry(kind, version, last, &table)
		if r.bad {
			break
		}
		if len(br.entries) > 0 {
			if err := checkEntryPath(e.path); err != nil {
				return err
			}
		}
		if n := len(br.entries); n > 1 && e.path <= br.entries[n-1].path {
			return fmt.Errorf("entry %q does not follow %q", e.path, br.entries[n-1].path)
		}
		last = e
		br.extents += len(e.extents)
		br.entries = append(br.entries, e)
	}
	if r.bad {
		return errors.New("block is malformed")
	}
	if len(br.entries)+br.extents > maxTree {
		return fmt.Errorf("tree has more than %d entries and extents", maxTree)
	}
	return nil
}

// more reads on in the extents of the file before.
func (br *blockReader) more(r *reader, table *chunkTable, first bool) error {
	if br.part && len(br.entries) == 0 {
		br.entries = append(br.entries, entry{kind: kindFile, extents: make([]extent, 1)}) // what was before is not looked at
	}
	n := len(br.entries)
	if !first || n == 0 || br.entries[n-1].kind != kindFile || len(br.entries[n-1].extents) == 0 {
		return errors.New("block goes on with a file that was not begun")
	}
	e := &br.entries[n-1]
	before := len(e.extents)
	e.extents = r.extents(e.extents, table)
	br.extents += len(e.extents) - before
	return nil
}

func (r *reader) treeEntry(kind entryKind, version int, last entry, table *chunkTable) (e entry) {
	e.kind = kind
	shared := r.uvarint()
	if shared > uint64(len(last.path)) {
		r.fail()
		return e
	}
	e.path = last.path[:shared] + r.string()
	if len(e.path) > maxPath {
		r.fail()
	}
	mode := r.uvarint()
	if mode > 0o7777 {
		r.fail()
	}
	e.mode = uint32(mode)
	e.mtime = r.varint()
	if version == blockOwned {
		e.owner = r.owner(last.owner)
	}
	switch kind {
	case kindDir:
	case kindSymlink:
		e.target = r.string()
	case kindFile:
		e.size = int64(r.uvarint())
		e.ident = ident{dev: r.uvarint(), ino: r.uvarint(), ctime: r.varint()}
		e.extents = r.extents(nil, table)
	default:
		r.fail()
	}
	return e
}

// owner reads what owner.append has written.
func (r *reader) owner(before owner) owner {
	if r.uvarint() == 0 {
		if !before.known {
			r.fail()
		}
		return before
	}
	uid, gid := r.uvarint(), r.uvarint()
	if uid > math.MaxUint32 || gid > math.MaxUint32 {
		r.fail()
	}
	return owner{true, uint32(uid), uint32(gid)}
}

func (r *reader) extents(list []extent, table *chunkTable) []extent {
	n := r.uvarint()
	if n > uint64(len(r.b))/minExtent {
		r.fail()
		return list
	}
	if list == nil {
		list = make([]extent, 0, n)
	}
	for ; n > 0 && !r.bad; n-- {
		e := table.read(r)
		if r.bad || e.validate() != nil {
			r.fail()
			return list
		}
		list = append(list, e)
	}
	return list
}

// encodeIndex encodes a block of a level above 0.
func encodeIndex(level int, refs []ref) []byte {
	b := make([]byte, 0, blockHeaderLen+len(refs)*36)
	b = append(b, blockMagic...)
	b = append(b, blockVersion, byte(level))
	return appendRefs(b, refs)
}

// decodeIndex is the inverse of encodeIndex.
func decodeIndex(block []byte, level int) ([]ref, error) {
	version, got, body, err := blockHeader(block)
	if err != nil {
		return nil, err
	}
	if version != blockVersion {
		return nil, fmt.Errorf("is an index of version %d; this program reads %d", version, blockVersion)
	}
	if got != level {
		return nil, fmt.Errorf("is a block of level %d where %d is expected", got, level)
	}
	r := reader{b: body}
	refs := r.refs()
	if r.bad || len(r.b) > 0 || len(refs) == 0 {
		return nil, errors.New("block is malformed")
	}
	return refs, nil
}

func blockHeader(b []byte) (version, level int, body []byte, err error) {
	if len(b) < blockHeaderLen || string(b[:len(blockMagic)]) != blockMagic {
		return 0, 0, nil, errors.New("is not a tree block: the magic is missing")
	}
	version = int(b[len(blockMagic)])
	if version != blockVersion && version != blockOwned {
		return 0, 0, nil, fmt.Errorf("has tree block version %d; this program reads %d and %d", version, blockVersion, blockOwned)
	}
	return version, int(b[blockHeaderLen-1]), b[blockHeaderLen:], nil
}

func appendRefs(b []byte, refs []ref) []byte {
	b = binary.AppendUvarint(b, uint64(len(refs)))
	for _, f := range refs {
		b = append(b, f.hash[:]...)
		b = binary.AppendUvarint(b, uint64(f.size))
	}
	return b
}

func (r *reader) refs() []ref {
	n := r.uvarint()
	if n > uint64(len(r.b))/uint64(len(hash{})) {
		r.fail()
		return nil
	}
	refs := make([]ref, 0, n)
	for ; n > 0 && !r.bad; n-- {
		refs = append(refs, r.ref())
	}
	return refs
}

func (r *reader) ref() (f ref) {
	copy(f.hash[:], r.bytes(uint64(len(f.hash))))
	n := r.uvarint()
	if n == 0 || n > maxChunkSize {
		r.fail()
	}
	f.size = uint32(n)
	return f
}
