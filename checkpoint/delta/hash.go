package delta

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/stratoswarm/forestall/internal/parallel"
	"github.com/zeebo/xxh3"
)

// portion is the unit in which workers hash, in bytes: large enough that handing
// it out costs nothing, small enough that what had to be copied for it is still
// in the core's own cache.
const portion = 512 << 10

// hasher finds changed pages by comparing each page's XXH3-128 with that of the
// last mark: 16 bytes are kept per page, 4 MiB per GiB.
//
// XXH3 is not a cryptographic hash. A changed page is missed when its hash is
// the same by chance: with 2^18 pages per GiB and a mark every 5 minutes for 10
// years, about 2^38 comparisons at 2^-128 each, less than 1 in 10^27. That
// needs content that does not know the seed, which is random per region and
// never leaves the process. What a checkpoint holds is addressed by BLAKE3.
type hasher struct {
	seed    uint64
	size    int64
	src     source
	sums    []xxh3.Uint128 // by page; nil before the first mark
	workers int
}

func newHasher(src source, size int64) *hasher {
	return &hasher{seed: rand.Uint64(), size: size, src: src, workers: runtime.GOMAXPROCS(0)}
}

func (h *hasher) method() Method { return Hash }

// live is false: a page that changes after it was hashed, is copied, and changes
// back would be reported by no later mark, and the copy would be wrong.
func (h *hasher) live() bool { return false }

func (h *hasher) reset() { h.sums = nil }

func (h *hasher) close() error { return nil }

// start hashes the copy, not the memory.
func (h *hasher) start(ctx context.Context, copyAll func() (memory, error)) (bool, error) {
	if h.sums != nil {
		return false, nil
	}
	all, err := copyAll()
	if err != nil {
		return false, err
	}
	of := hasher{seed: h.seed, size: h.size, src: all, workers: h.workers}
	if _, err := of.mark(ctx); err != nil {
		return false, err
	}
	h.sums = of.sums
	return true, nil
}

// mark hashes every page. When it fails, the sums are those of a mixture of two
// moments and the next mark reports everything.
func (h *hasher) mark(ctx context.Context) ([]Range, error) {
	first := h.sums == nil
	if first {
		h.sums = make([]xxh3.Uint128, (h.size+PageSize-1)/PageSize)
	}
	parts := make([][]Range, (h.size+portion-1)/portion)
	err := h.each(ctx, len(parts), func(i int, buf []byte) error {
		var err error
		parts[i], err = h.markPortion(int64(i)*portion, buf)
		return err
	})
	if err != nil {
		h.sums = nil
		return nil, err
	}
	if first {
		return whole(h.size), nil
	}
	var out []Range
	for _, s := range parts {
		for _, r := range s {
			out = appendRange(out, r)
		}
	}
	return out, nil
}

func (h *hasher) markPortion(at int64, buf []byte) (changed []Range, err error) {
	b, err := h.src.view(buf, at, min(portion, h.size-at))
	if err != nil {
		return nil, err
	}
	for off := 0; off < len(b); off += PageSize {
		page := b[off:min(off+PageSize, len(b))]
		sum, i := xxh3.Hash128Seed(page, h.seed), (at+int64(off))/PageSize
		if sum != h.sums[i] {
			h.sums[i] = sum
			changed = appendRange(changed, Range{at + int64(off), int64(len(page))})
		}
	}
	return changed, nil
}

// each calls do for 0 to n-1 from several goroutines until one fails. buf is
// nobody else's, of portion bytes, or nil where the source needs none.
func (h *hasher) each(ctx context.Context, n int, do func(i int, buf []byte) error) error {
	bufs := sync.Pool{New: func() any { b := make([]byte, portion); return &b }}
	return parallel.Do(ctx, h.workers, n, func(_ context.Context, i int) error {
		if h.src.direct() {
			return do(i, nil)
		}
		buf := bufs.Get().(*[]byte)
		defer bufs.Put(buf)
		return do(i, *buf)
	})
}

// whole is the range of a region that was never marked.
func whole(size int64) []Range { return appendRange(nil, Range{0, size}) }
