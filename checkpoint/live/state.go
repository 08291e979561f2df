package live

import (
	"context"
	"io"
	"os"

	"github.com/stratoswarm/forestall/checkpoint/delta"
)

// State is a part of a program that writes itself down and reads itself back.
type State interface {
	// Snapshot writes the state, as of now, to w. It is called during the hold.
	// What did not change since the last call should come at the same place: only
	// pages of 4 KiB that differ are kept.
	Snapshot(ctx context.Context, w io.Writer) error
	// Restore makes the state what r holds, or fails and leaves it alone.
	Restore(ctx context.Context, r io.Reader) error
}

var _ State = (*delta.Value)(nil)

// tracked is a state whose changes are followed.
type tracked interface {
	Capture(ctx context.Context) (delta.Increment, error)
	Settle() error
	Forget()
	Close() error
	// precopy copies what it can before the hold.
	precopy(ctx context.Context, rounds delta.Rounds) error
	// prepare reads f, of size bytes, and returns how to make the state what it
	// holds; that is called during a hold.
	prepare(ctx context.Context, f *os.File, size int64) (apply func() error, err error)
}

// written is a State.
type written struct {
	*delta.Stream
	State
}

func (w written) precopy(context.Context, delta.Rounds) error { return nil }

func (w written) prepare(ctx context.Context, f *os.File, size int64) (func() error, error) {
	content := io.NewSectionReader(f, 0, size)
	if v, ok := w.State.(*delta.Value); ok {
		apply, err := v.Decode(ctx, content)
		return func() error { apply(); return nil }, err
	}
	return func() error { return w.Restore(ctx, content) }, nil
}

// region is a memory region.
type region struct{ *delta.Region }

func (r region) precopy(ctx context.Context, rounds delta.Rounds) error {
	return r.Precopy(ctx, rounds)
}

func (r region) prepare(_ context.Context, f *os.File, size int64) (func() error, error) {
	if err := r.MayOverwrite(size); err != nil {
		return nil, err
	}
	return func() error { return r.Overwrite(f, size) }, nil
}
