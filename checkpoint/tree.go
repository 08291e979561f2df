package checkpoint

import (
	"encoding/binary"
	"fmt"
)

// root is what a manifest file holds: the header, and where the tree begins.
type root struct {
	header
	level   int     // of the blocks in top
	top     []ref   // in order
	entries []entry // of version 1, which has no blocks
	sealed  bool
}

// writeTree keeps the entries as blocks and returns the root of their tree.
// add keeps one block.
func writeTree(entries []entry, add func(block []byte) (hash, error)) (level int, top []ref, err error) {
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

// indexCut returns how many of the blocks the next index block lists.
func indexCut(below []ref) int {
	for i, f := range below {
		if i > 0 && binary.LittleEndian.Uint32(f.hash[:])%refsPerBlock == 0 || i+1 == maxRefs {
			return i + 1
		}
	}
	return len(below)
}

// loadTree reads the blocks below a root, in order. read appends a chunk's
// content to dst[:0].
func loadTree(r root, read func(dst []byte, h hash) ([]byte, error)) (entries []entry, blocks []hash, err error) {
	var (
		br  blockReader
		buf []byte
	)
	var visit func(level int, refs []ref) error
	visit = func(level int, refs []ref) error {
		for _, f := range refs {
			if buf, err = readBlock(buf, f, read); err != nil {
				return err
			}
			blocks = append(blocks, f.hash)
			if level == 0 {
				if err := br.add(buf); err != nil {
					return fmt.Errorf("%w: tree block %s: %w", ErrCorrupt, f.hash, err)
				}
				continue
			}
			below, err := decodeIndex(buf, level)
			if err != nil {
				return corrupt("tree block "+f.hash.String(), "%v", err)
			}
			if err := visit(level-1, below); err != nil {
				return err
			}
		}
		return nil
	}
	if err := visit(r.level, r.top); err != nil {
		return nil, nil, err
	}
	return br.entries, blocks, nil
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
