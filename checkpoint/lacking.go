package checkpoint

import "fmt"

// lacking returns the chunks of a checkpoint that another store lacks. ask tells
// of some chunks which it lacks. What is below a block that it has is taken to be
// there, so that for a large tree in which little changed little is asked; the
// store says so if that is wrong, when it is given the manifest.
func (d *Dir) lacking(r root, ask func([]hash) ([]hash, error)) (out []hash, err error) {
	contents := contentsOf(r.entries)
	for level, refs := r.level, r.top; len(refs) > 0; level-- {
		missing, err := ask(hashesOf(refs))
		if err != nil {
			return nil, err
		}
		out = append(out, missing...)
		if refs, contents, err = d.below(level, refs, missing); err != nil {
			return nil, err
		}
	}
	if len(contents) == 0 {
		return out, nil
	}
	missing, err := ask(contents)
	return append(out, missing...), err
}

// below reads those of the blocks that are missing elsewhere, and returns the
// blocks that they list, or at level 0 the chunks that their files hold.
func (d *Dir) below(level int, refs []ref, missing []hash) (next []ref, contents []hash, err error) {
	wanted := make(map[hash]bool, len(missing))
	for _, h := range missing {
		wanted[h] = true
	}
	var (
		buf     []byte
		entries []entry
	)
	for _, f := range refs {
		if !wanted[f.hash] {
			continue
		}
		delete(wanted, f.hash)
		if buf, err = readBlock(buf, f, d.readChunk); err != nil {
			return nil, nil, err
		}
		if level > 0 {
			list, err := decodeIndex(buf, level)
			if err != nil {
				return nil, nil, corrupt("tree block "+f.hash.String(), "%v", err)
			}
			next = append(next, list...)
			continue
		}
		br := blockReader{part: true}
		if err := br.add(buf); err != nil {
			return nil, nil, fmt.Errorf("%w: tree block %s: %w", ErrCorrupt, f.hash, err)
		}
		entries = append(entries, br.entries...)
	}
	return next, contentsOf(entries), nil
}

func hashesOf(refs []ref) []hash {
	out := make([]hash, len(refs))
	for i, f := range refs {
		out[i] = f.hash
	}
	return out
}

// contentsOf returns each chunk that the entries' files hold once.
func contentsOf(entries []entry) (out []hash) {
	seen := make(map[hash]bool)
	for _, e := range entries {
		for _, x := range e.extents {
			if x.size > 0 && !seen[x.hash] {
				seen[x.hash] = true
				out = append(out, x.hash)
			}
		}
	}
	return out
}
