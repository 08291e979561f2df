package checkpoint

import "fmt"

// lacking returns the chunks of a checkpoint that another store lacks. ask tells
// of some chunks which it lacks. What is below a block that it has is taken to be
// there, so that for a large tree in which little changed little is asked; the
// store says so if that is wrong, when it is given the manifest.
func (d *Dir) lacking(r root, ask func([]hash) ([]hash, error)) (out []hash, err error) {
	var contents contents
	contents.add(r.entries)
	for level, refs := r.level, r.top; len(refs) > 0; level-- {
		missing, err := ask(hashesOf(refs))
		if err != nil {
			return nil, err
		}
		out = append(out, missing...)
		if refs, err = d.below(level, refs, missing, &contents); err != nil {
			return nil, err
		}
	}
	if len(contents.list) == 0 {
		return out, nil
	}
	missing, err := ask(contents.list)
	return append(out, missing...), err
}

// below reads those of the blocks that are missing elsewhere, and returns the
// blocks that they list, or at level 0 adds the chunks that their files hold.
func (d *Dir) below(level int, refs []ref, missing []hash, contents *contents) (next []ref, err error) {
	wanted := make(map[hash]bool, len(missing))
	for _, h := range missing {
		wanted[h] = true
	}
	var buf []byte
	for _, f := range refs {
		if !wanted[f.hash] {
			continue
		}
		delete(wanted, f.hash)
		if buf, err = readBlock(buf, f, d.readChunk); err != nil {
			return nil, err
		}
		if level > 0 {
			list, err := decodeIndex(buf, level)
			if err != nil {
				return nil, corrupt("tree block "+f.hash.String(), "%v", err)
			}
			next = append(next, list...)
			continue
		}
		br := blockReader{part: true}
		if err := br.add(buf); err != nil {
			return nil, fmt.Errorf("%w: tree block %s: %w", ErrCorrupt, f.hash, err)
		}
		contents.add(br.entries)
	}
	return next, nil
}

func hashesOf(refs []ref) []hash {
	out := make([]hash, len(refs))
	for i, f := range refs {
		out[i] = f.hash
	}
	return out
}

// contents are chunks that files hold, each once.
type contents struct {
	list []hash
	seen map[hash]struct{}
}

func (c *contents) add(entries []entry) {
	if c.seen == nil {
		c.seen = make(map[hash]struct{})
	}
	for _, e := range entries {
		for _, x := range e.extents {
			if _, seen := c.seen[x.hash]; !seen && x.size > 0 {
				c.seen[x.hash] = struct{}{}
				c.list = append(c.list, x.hash)
			}
		}
	}
}
