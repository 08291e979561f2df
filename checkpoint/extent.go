package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// ref names a chunk and says how long its content is.
type ref struct {
	hash hash
	size uint32 // bytes of content, 1 to maxChunkSize
}

func (r ref) validate() error {
	if r.size == 0 || r.size > maxChunkSize {
		return fmt.Errorf("chunk %.12s has %d bytes", r.hash, r.size)
	}
	return nil
}

// extent is a piece of a file: length bytes of a chunk from offset on.
type extent struct {
	ref
	offset, length uint32
}

// whole is the extent that is all of a chunk.
func whole(r ref) extent { return extent{ref: r, length: r.size} }

func (e extent) validate() error {
	if err := e.ref.validate(); err != nil {
		return err
	}
	if e.length == 0 || uint64(e.offset)+uint64(e.length) > uint64(e.size) {
		return fmt.Errorf("%d bytes at %d lie outside chunk %.12s of %d", e.length, e.offset, e.hash, e.size)
	}
	return nil
}

// follows reports whether e continues prev within one chunk.
func (e extent) follows(prev extent) bool {
	return e.ref == prev.ref && e.offset == prev.offset+prev.length
}

// appendExtent adds e to a file's extents, joining what belongs together.
func appendExtent(list []extent, e extent) []extent {
	if n := len(list); n > 0 && e.follows(list[n-1]) {
		list[n-1].length += e.length
		return list
	}
	return append(list, e)
}

// PageRange is a part of a region: Length bytes from Offset on.
type PageRange struct {
	Offset, Length int64
}

func (r PageRange) end() int64 { return r.Offset + r.Length }

// normalize returns the ranges sorted, cut at size and joined where they touch
// or overlap. A range that begins before 0, or has a negative length, is
// refused.
func normalize(ranges []PageRange, size int64) ([]PageRange, error) {
	out := make([]PageRange, 0, len(ranges))
	for _, r := range ranges {
		if r.Offset < 0 || r.Length < 0 || r.end() < 0 {
			return nil, fmt.Errorf("dirty range of %d bytes at %d: both must not be negative", r.Length, r.Offset)
		}
		if r.Length = min(r.Length, size-r.Offset); r.Length > 0 {
			out = append(out, r)
		}
	}
	byOffset := func(a, b PageRange) int { return cmp.Compare(a.Offset, b.Offset) }
	if !slices.IsSortedFunc(out, byOffset) {
		slices.SortFunc(out, byOffset)
	}
	return joined(out), nil
}

// joined joins sorted ranges that touch or overlap, in place.
func joined(sorted []PageRange) []PageRange {
	out := sorted[:0]
	for _, r := range sorted {
		if n := len(out); n > 0 && r.Offset <= out[n-1].end() {
			out[n-1].Length = max(out[n-1].end(), r.end()) - out[n-1].Offset
			continue
		}
		out = append(out, r)
	}
	return out
}

// placed is an extent at its place in a file.
type placed struct {
	extent
	at int64
}

// keep returns the parts of a file's extents that lie before size and outside
// the dirty ranges, which are sorted and apart.
func keep(extents []extent, dirty []PageRange, size int64) []placed {
	out := make([]placed, 0, len(extents)+len(dirty))
	var at int64
	for _, e := range extents {
		end := min(at+int64(e.length), size)
		for pos := at; pos < end; {
			for len(dirty) > 0 && dirty[0].end() <= pos {
				dirty = dirty[1:]
			}
			stop := end
			if len(dirty) > 0 {
				if dirty[0].Offset <= pos {
					pos = dirty[0].end()
					continue
				}
				stop = min(stop, dirty[0].Offset)
			}
			part := e
			part.offset += uint32(pos - at)
			part.length = uint32(stop - pos)
			out = append(out, placed{part, pos})
			pos = stop
		}
		at += int64(e.length)
	}
	return out
}

// thin returns the ranges of those kept extents whose chunk has less than
// 1/rewriteBelow of its content in use.
func thin(kept []placed) []PageRange {
	live := make(map[hash]uint64)
	for _, p := range kept {
		live[p.hash] += uint64(p.length)
	}
	var out []PageRange
	for _, p := range kept {
		if live[p.hash]*rewriteBelow < uint64(p.size) {
			out = append(out, PageRange{p.at, int64(p.length)})
		}
	}
	return out
}

// rewriteBelow: a chunk of which an incremental checkpoint would use less than
// a quarter is written anew with the dirty pages. In the worst case, pages
// changing uniformly at random, that adds a third to what is written (1/(1-u)
// at u = 1/4) and holds a region's newest checkpoint within 1.9 times its size
// on average ((1-u)/ln(1/u) of a chunk is in use).
const rewriteBelow = 4

// overlay merges kept and written extents, each sorted and together gapless,
// into a file's extents.
func overlay(kept, written []placed) ([]extent, error) {
	var at int64
	out := make([]extent, 0, len(kept)+len(written))
	for len(kept)+len(written) > 0 {
		from := &kept
		if len(kept) == 0 || len(written) > 0 && written[0].at < kept[0].at {
			from = &written
		}
		p := (*from)[0]
		*from = (*from)[1:]
		if p.at != at {
			return nil, errors.New("extents do not meet")
		}
		out = appendExtent(out, p.extent)
		at += int64(p.length)
	}
	return out, nil
}
