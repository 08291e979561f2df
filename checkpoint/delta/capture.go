package delta

import (
	"context"
	"fmt"
	"io"
)

// Increment is what changed in a state, copied: it no longer depends on the
// state.
type Increment struct {
	Size  int64   // of the whole state, bytes
	Dirty []Range // what changed, ascending and apart; everything where no base is known
	// Content has the bytes of Dirty at their places; a read elsewhere fails. It
	// may be read from several goroutines at once until the increment is
	// settled or the state is captured anew.
	Content io.ReaderAt
}

// Rounds bounds the copying that is done before the workload is held.
type Rounds struct {
	Most   int   // rounds
	Enough int64 // bytes that are left to the hold without another round
}

// DefaultRounds leaves about a millisecond's copying to the hold, unless the
// workload writes faster than memory can be copied.
func DefaultRounds() Rounds { return Rounds{Most: 4, Enough: 4 << 20} }

// again decides whether another round is worth while after done rounds, the
// last of which copied last bytes and the one before it before: as long as
// rounds shrink by a quarter.
func (r Rounds) again(done int, before, last int64) bool {
	return done < r.Most && last > r.Enough && (done < 2 || last < before-before/4)
}

// image holds copies of a region's pages at their places. It takes as much
// memory as was copied, not as the region has.
type image struct {
	bytes   []byte
	free    func() error
	pending []Range // changed since the last settled increment
	stale   bool    // bytes lacks some of pending
}

// Precopy copies what changed while the memory is being written to, in rounds,
// so that little is left for Capture. Where the region is not live it does so
// for the first capture only, in one round: afterwards all is found while the
// workload stands still. Errors are those of Mark.
func (r *Region) Precopy(ctx context.Context, rounds Rounds) error {
	if err := r.avoidPins(); err != nil {
		return err
	}
	if !r.Live() {
		return r.start(ctx)
	}
	var before, last int64
	for done := 0; done == 0 || rounds.again(done, before, last); done++ {
		n, err := r.capture(ctx, false)
		if err != nil {
			return err
		}
		before, last = last, n
	}
	return nil
}

// start copies everything before the first mark of a region that is not live.
func (r *Region) start(ctx context.Context) error {
	s, ok := r.det.(starter)
	if !ok {
		return nil
	}
	started, err := s.start(ctx, func() (memory, error) {
		if err := r.reserve(); err != nil {
			return nil, err
		}
		err := r.src.copyRanges(r.img.bytes, whole(r.size), false)
		return r.img.bytes, err
	})
	if err != nil {
		r.Forget()
		return fmt.Errorf("copy %s: %w", r.name, err)
	}
	if started {
		r.img.pending, r.img.stale = whole(r.size), false
	}
	return nil
}

// Capture returns what changed since the last settled increment, as of now; the
// memory must stand still meanwhile. Errors are those of Mark; after one, the
// next Capture returns everything.
func (r *Region) Capture(ctx context.Context) (Increment, error) {
	if err := r.avoidPins(); err != nil {
		return Increment{}, err
	}
	if _, err := r.capture(ctx, true); err != nil {
		return Increment{}, err
	}
	return Increment{Size: r.size, Dirty: r.img.pending, Content: &r.img}, nil
}

// Settle says that the captured increment is kept and will be the base of the
// next one. Without it, the next Capture includes it.
func (r *Region) Settle() error {
	r.img.pending, r.img.stale = nil, false
	return r.img.drop()
}

// Forget says that no base is known any more: the next Capture returns
// everything.
func (r *Region) Forget() {
	r.det.reset()
	r.img.pending, r.img.stale = whole(r.size), true
}

// capture copies what was written since the last mark, and says how much.
func (r *Region) capture(ctx context.Context, still bool) (copied int64, err error) {
	if err := r.reserve(); err != nil {
		return 0, err
	}
	fresh, err := r.Mark(ctx)
	if err != nil {
		r.Forget()
		return 0, err
	}
	r.img.pending = Union(r.img.pending, fresh)
	if r.img.stale {
		fresh = r.img.pending
	}
	r.img.stale = true
	if err := r.src.copyRanges(r.img.bytes, fresh, still); err != nil {
		return 0, fmt.Errorf("copy %d bytes of %s: %w", Bytes(fresh), r.name, err)
	}
	r.img.stale = false
	return Bytes(fresh), nil
}

// reserve makes room for copies.
func (r *Region) reserve() (err error) {
	if r.img.bytes != nil {
		return nil
	}
	if r.img.bytes, r.img.free, err = reserve(r.size); err != nil {
		return fmt.Errorf("reserve memory to copy %s: %w", r.name, err)
	}
	return nil
}

// ReadAt reads what was copied, within one range of it.
func (i *image) ReadAt(p []byte, off int64) (int, error) {
	if !covers(i.pending, off, int64(len(p))) {
		return 0, fmt.Errorf("%d bytes at %d were not captured", len(p), off)
	}
	return copy(p, i.bytes[off:]), nil
}

func (i *image) drop() error {
	free := i.free
	i.bytes, i.free = nil, nil
	if free == nil {
		return nil
	}
	return free()
}
