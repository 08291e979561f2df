package delta

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sort"

	"github.com/zeebo/xxh3"
)

// Stream follows changes of a state that writes itself down. Each capture is
// the whole state, of which only the pages are kept that differ from those at
// the same place in the last settled one; it takes as much memory as they have.
// Its methods are for one goroutine at a time.
type Stream struct {
	write func(ctx context.Context, w io.Writer) error
	seed  uint64
	sums  []xxh3.Uint128 // by page, of the last settled increment; the hash is that of [Hash]
	size  int64

	taken *pages // by the last Capture; nil: none
}

// NewStream returns a stream whose captures are what write writes, which should
// put what did not change to where it was.
func NewStream(write func(ctx context.Context, w io.Writer) error) *Stream {
	return &Stream{write: write, seed: rand.Uint64()}
}

// Capture has the state written down and returns what differs from the last
// settled increment. Its errors are those of the write.
func (s *Stream) Capture(ctx context.Context) (Increment, error) {
	p := &pages{seed: s.seed, old: s.sums, oldSize: s.size}
	s.taken = nil
	if err := s.write(ctx, p); err != nil {
		return Increment{}, fmt.Errorf("write the state down: %w", err)
	}
	p.end()
	s.taken = p
	return Increment{Size: p.size, Dirty: p.dirty, Content: p}, nil
}

// Settle says that the captured increment is kept and will be the base of the
// next one.
func (s *Stream) Settle() error {
	if p := s.taken; p != nil {
		s.sums, s.size, s.taken = p.sums, p.size, nil
	}
	return nil
}

// Forget says that no base is known any more: the next Capture returns
// everything.
func (s *Stream) Forget() { s.sums, s.size, s.taken = nil, 0, nil }

// Close releases what was captured.
func (s *Stream) Close() error {
	s.Forget()
	return nil
}

// pages takes a stream and keeps the pages that changed.
type pages struct {
	seed    uint64
	old     []xxh3.Uint128
	oldSize int64

	sums  []xxh3.Uint128
	size  int64
	part  []byte // of the page that is not full yet
	dirty []Range
	kept  []kept
}

var (
	_ io.Writer   = (*pages)(nil)
	_ io.ReaderAt = (*pages)(nil)
)

// kept is a run of changed pages.
type kept struct {
	at    int64
	bytes []byte
}

// Write takes the next bytes of the stream.
func (p *pages) Write(b []byte) (int, error) {
	n := len(b)
	if len(p.part) > 0 {
		m := min(len(b), PageSize-len(p.part))
		p.part = append(p.part, b[:m]...)
		b = b[m:]
		if len(p.part) == PageSize {
			p.page(p.part)
			p.part = p.part[:0]
		}
	}
	for len(b) >= PageSize {
		p.page(b[:PageSize])
		b = b[PageSize:]
	}
	p.part = append(p.part, b...)
	return n, nil
}

// end takes the last page, which may be shorter.
func (p *pages) end() {
	if len(p.part) > 0 {
		p.page(p.part)
	}
	p.part = nil
}

// longestRun bounds the bytes of one run of changed pages.
const longestRun = 1 << 20

func (p *pages) page(b []byte) {
	i, at := len(p.sums), p.size
	sum := xxh3.Hash128Seed(b, p.seed)
	p.sums = append(p.sums, sum)
	p.size += int64(len(b))
	// The last page of the old state has the same hash only when it had the same
	// length.
	if i < len(p.old) && p.old[i] == sum && p.size <= p.oldSize {
		return
	}
	p.dirty = appendRange(p.dirty, Range{at, int64(len(b))})
	if n := len(p.kept); n > 0 {
		if last := &p.kept[n-1]; last.at+int64(len(last.bytes)) == at && len(last.bytes) < longestRun {
			last.bytes = append(last.bytes, b...)
			return
		}
	}
	p.kept = append(p.kept, kept{at, bytes.Clone(b)})
}

// ReadAt reads changed pages, within one range of them.
func (p *pages) ReadAt(b []byte, off int64) (int, error) {
	if !covers(p.dirty, off, int64(len(b))) {
		return 0, fmt.Errorf("%d bytes at %d were not captured", len(b), off)
	}
	n := 0
	for i := p.firstEndingAfter(off); n < len(b); i++ {
		k := p.kept[i]
		n += copy(b[n:], k.bytes[off+int64(n)-k.at:])
	}
	return n, nil
}

func (p *pages) firstEndingAfter(off int64) int {
	return sort.Search(len(p.kept), func(i int) bool { return p.kept[i].at+int64(len(p.kept[i].bytes)) > off })
}
