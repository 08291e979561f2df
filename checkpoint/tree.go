package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// root is what a manifest file holds: the header, and where the tree begins.
type root struct {
	header
	level   int     // of the blocks in top
	top     []ref   // in order
	entries []entry // of version 1, which has no blocks
	sealed  bool
	names   []string // the first of what was left out
}

// writeTree keeps the entries as blocks and returns the root of their tree.
// add keeps one block.
func writeTree(entries []entry, add func(block []byte) (hash, error)) (level int, top []ref, err error) {
	if err := checkTree(entries, maxTree); err != nil {
		return 0, nil, err
	}
	keep := func(block []byte) error {
		h, err := add(block)
		top = append(top, ref{h, uint32(len(block))})
		return err
	}
	w := blockWriter{emit: keep}
	for _, e := range entries {
		if err := w.add(e); err != nil {
			return 0, nil, err
		}
	}
	if err := w.end(); err != nil {
		return 0, nil, err
	}
	for len(top) > refsPerBlock {
		level++
		below := top
		top = nil
		for len(below) > 0 {
			n := indexCut(below)
			if err := keep(encodeIndex(level, below[:n])); err != nil {
				return 0, nil, err
			}
			below = below[n:]
		}
	}
	return level, top, nil
}

// checkTree refuses a tree that would not be read back.
func checkTree(entries []entry, most int) error {
	n := len(entries)
	for _, e := range entries {
		n += len(e.extents)
	}
	if n > most {
		return fmt.Errorf("%w: %d entries and pieces of files, at most %d are possible; save it as several workloads", ErrTooLarge, n, most)
	}
	return nil
}

// indexCut returns how many of the blocks the next index block lists.
func indexCut(below []ref) int {
	for i, f := range below {
		if i > 0 && binary.LittleEndian.Uint32(f.hash[:])%refsPerBlock == 0 || i+1 == maxRefs {
			return i + 1
		}
	}
	return len(below)
}

// errEnough ends the walk through a tree before its end.
var errEnough = errors.New("enough was read")

// walkTree passes each block below a root to visit, in order, those of indexes
// before what they list. read appends a chunk's content to dst[:0]; a block is
// valid until visit returns, which may return errEnough.
func walkTree(r root, read func(dst []byte, h hash) ([]byte, error), visit func(level int, f ref, block []byte) error) error {
	var buf []byte
	var walk func(level int, refs []ref) error
	walk = func(level int, refs []ref) (err error) {
		for _, f := range refs {
			if buf, err = readBlock(buf, f, read); err != nil {
				return err
			}
			if err := visit(level, f, buf); err != nil || level == 0 {
				if err != nil {
					return err
				}
				continue
			}
			below, err := decodeIndex(buf, level)
			if err != nil {
				return corrupt("tree block "+f.hash.String(), "%v", err)
			}
			if err := walk(level-1, below); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(r.level, r.top); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// loadTree reads the blocks below a root, in order.
func loadTree(r root, read func(dst []byte, h hash) ([]byte, error)) (entries []entry, blocks []hash, err error) {
	var br blockReader
	err = walkTree(r, read, func(level int, f ref, block []byte) error {
		blocks = append(blocks, f.hash)
		return br.addOf(level, f, block)
	})
	if err != nil {
		return nil, nil, err
	}
	return br.entries, blocks, nil
}

// addOf decodes a block if it is one of entries.
func (br *blockReader) addOf(level int, f ref, block []byte) error {
	if level > 0 {
		return nil
	}
	if err := br.add(block); err != nil {
		return fmt.Errorf("%w: tree block %s: %w", ErrCorrupt, f.hash, err)
	}
	return nil
}

// findFile returns the entry of a file below a root. It holds one block at a
// time, however large the tree is.
func (r root) findFile(name string, read func(dst []byte, h hash) ([]byte, error)) (found entry, ok bool, err error) {
	is := func(e entry) bool { return e.kind == kindFile && e.path == name }
	if r.entries != nil {
		if i := slices.IndexFunc(r.entries, is); i >= 0 {
			return r.entries[i], true, nil
		}
		return entry{}, false, nil
	}
	var br blockReader
	err = walkTree(r, read, func(level int, f ref, block []byte) error {
		if err := br.addOf(level, f, block); err != nil || level > 0 {
			return err
		}
		n := len(br.entries)
		// The last may go on in the next block; nothing else of before does.
		if i := slices.IndexFunc(br.entries, is); i >= 0 && i < n-1 {
			br.entries = br.entries[:i+1]
			return errEnough
		}
		if n > 1 {
			br.entries = append(br.entries[:1], br.entries[n-1])
			br.extents = len(br.entries[1].extents)
		}
		return nil
	})
	if err != nil {
		return entry{}, false, err
	}
	if n := len(br.entries); n > 0 && is(br.entries[n-1]) {
		return br.entries[n-1], true, nil
	}
	return entry{}, false, nil
}

func readBlock(buf []byte, f ref, read func(dst []byte, h hash) ([]byte, error)) ([]byte, error) {
	buf, err := read(buf[:0], f.hash)
	if err != nil {
		return buf, fmt.Errorf("tree block: %w", err)
	}
	if len(buf) != int(f.size) {
		return buf, corrupt("tree block "+f.hash.String(), "holds %d bytes, the tree says %d", len(buf), f.size)
	}
	return buf, nil
}

// expand reads the whole tree below a root and checks it.
func (r root) expand(read func(dst []byte, h hash) ([]byte, error)) (*manifest, error) {
	m := &manifest{header: r.header, entries: r.entries, sealed: r.sealed}
	if r.entries != nil {
		return m, nil
	}
	var err error
	if m.entries, m.blocks, err = loadTree(r, read); err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("%w: tree: %w", ErrCorrupt, err)
	}
	return m, nil
}
