package delta

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// PageSize is the unit of change in bytes. Where the kernel's pages are larger,
// so is what it reports.
const PageSize = 4096

// Range is a piece of a region, in bytes from its beginning.
type Range struct {
	Offset, Length int64
}

// End returns the offset behind the range.
func (r Range) End() int64 { return r.Offset + r.Length }

func (r Range) String() string { return fmt.Sprintf("[%d,%d)", r.Offset, r.End()) }

// Bytes returns how many bytes ranges that do not overlap cover.
func Bytes(ranges []Range) (n int64) {
	for _, r := range ranges {
		n += r.Length
	}
	return n
}

// Union returns what any of the ranges cover: ascending, apart from each
// other, none empty. It may reuse a's memory.
func Union(a, b []Range) []Range {
	all := append(a, b...)
	slices.SortFunc(all, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	out := all[:0]
	for _, r := range all {
		out = appendRange(out, r)
	}
	return out
}

// appendRange adds a range that begins at or behind the last one's beginning,
// joining the two where they touch.
func appendRange(ranges []Range, r Range) []Range {
	if r.Length <= 0 {
		return ranges
	}
	if n := len(ranges); n > 0 && r.Offset <= ranges[n-1].End() {
		ranges[n-1].Length = max(ranges[n-1].End(), r.End()) - ranges[n-1].Offset
		return ranges
	}
	return append(ranges, r)
}

// align widens a range to whole pages within a region of size bytes.
func align(r Range, size int64) Range {
	from := r.Offset &^ (PageSize - 1)
	to := min(size, (r.End()+PageSize-1)&^(PageSize-1))
	return Range{from, to - from}
}

// covers reports whether n bytes from off lie within one of the ranges, which
// are ascending and apart.
func covers(ranges []Range, off, n int64) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].End() > off })
	return n == 0 || i < len(ranges) && ranges[i].Offset <= off && off+n <= ranges[i].End()
}
