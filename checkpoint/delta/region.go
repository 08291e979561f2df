package delta

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Region is memory whose changes are followed, either by Mark or by Precopy,
// Capture and Settle, which mark it themselves. Its methods are for one
// goroutine at a time.
type Region struct {
	name    string
	size    int64
	src     source
	det     detector
	img     image
	skipped []Finding
	pid     int          // whose memory it is, where pinned pages matter; else 0
	release func() error // of what src holds open; nil: nothing
}

// Size returns the region's size in bytes.
func (r *Region) Size() int64 { return r.size }

// Method returns how changes are found.
func (r *Region) Method() Method { return r.det.method() }

// Skipped returns the cheaper methods that did not work here or work no longer, and
// why.
func (r *Region) Skipped() []Finding { return r.skipped }

// Live reports whether [Region.Mark] may be called while the memory is being
// written to. Where it may not, the memory must stand still during the mark.
func (r *Region) Live() bool { return r.det.live() }

// Mark returns what was written since the last mark, in whole pages, ascending;
// all of the region the first time and after an error. A page may be reported
// that holds what it held before (written with the same bytes), none is left
// out. While memory of the process is pinned and the method was not forced, all of
// the region is returned. Errors wrap [ErrRemapped] when the memory is no longer
// there.
func (r *Region) Mark(ctx context.Context) ([]Range, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ranges, err := r.det.mark(ctx)
	if err != nil {
		return nil, fmt.Errorf("find what changed in %s by %s: %w", r.name, r.Method(), err)
	}
	if r.pins() == "" {
		return ranges, nil
	}
	return whole(r.size), nil
}

// ReadAt reads the memory as it is now. It may be called while the memory is
// written to; bytes written meanwhile may be the old or the new ones.
func (r *Region) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: offset %d is negative", r.name, off)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), r.size-off)
	if err := r.src.copyOut(p[:n], off); err != nil {
		return 0, fmt.Errorf("read %s: %w", r.name, err)
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// Close ends the following of changes; the memory stays as it is.
func (r *Region) Close() error {
	err := errors.Join(r.det.close(), r.img.drop())
	if r.release != nil {
		err = errors.Join(err, r.release())
	}
	return err
}

var _ io.ReaderAt = (*Region)(nil)

// candidate is a method that a region could use.
type candidate struct {
	method Method
	open   func() (detector, error)
}

// choose opens the first candidate that works, or the one that opt forces.
func (r *Region) choose(opt Options, candidates ...candidate) error {
	for _, c := range candidates {
		if opt.Method != "" && opt.Method != c.method {
			continue
		}
		var (
			det detector
			err error
		)
		if why := r.pinsOf(opt); why != "" && c.method != Hash {
			err = errors.New(why)
		}
		if err == nil {
			det, err = c.open()
		}
		if err == nil {
			r.det = det
			return nil
		}
		r.skipped = append(r.skipped, Finding{c.method, err})
		if opt.Method != "" {
			return fmt.Errorf("follow changes of %s by %s: %w; leave Method empty to take what works", r.name, c.method, err)
		}
	}
	return fmt.Errorf("follow changes of %s: %s cannot be used for it; leave Method empty to take what works", r.name, opt.Method)
}

// pinsOf returns why the kernel's bits cannot be used beside pinned memory, unless
// a method is forced; "": they can.
func (r *Region) pinsOf(opt Options) string {
	if opt.Method != "" {
		r.pid = 0
	}
	if r.pid == 0 {
		return ""
	}
	return pinned(r.pid)
}

// overwriter is a source that can be made to hold something else.
type overwriter interface {
	mayOverwrite() error
	overwrite(from io.ReaderAt) error
}

// MayOverwrite says why Overwrite with size bytes would be refused. The memory of
// another process cannot be overwritten: the error wraps [errors.ErrUnsupported].
func (r *Region) MayOverwrite(size int64) error {
	o, ok := r.src.(overwriter)
	switch {
	case !ok:
		return fmt.Errorf("overwrite %s: %w: it is another process's", r.name, errors.ErrUnsupported)
	case size != r.size:
		return fmt.Errorf("overwrite %s: there are %d bytes for it", r.name, size)
	}
	if err := o.mayOverwrite(); err != nil {
		return fmt.Errorf("overwrite %s: %w", r.name, err)
	}
	return nil
}

// Overwrite makes the region, which is memory of this process or a file, what
// from holds. It must stand still. A file is written in place, so that whoever
// has it mapped sees it, and synced. What can be refused is refused before
// anything is written; a failing read or write, or a crash in between, leaves a
// mixture, so from should be verified and local.
func (r *Region) Overwrite(from io.ReaderAt, size int64) error {
	if err := r.MayOverwrite(size); err != nil {
		return err
	}
	if err := r.src.(overwriter).overwrite(from); err != nil {
		return fmt.Errorf("overwrite %s: %w", r.name, err)
	}
	return nil
}
