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
	// restore makes the state what f, of size bytes, holds.
	restore(ctx context.Context, f *os.File, size int64) error
}

// written is a State.
type written struct {
	*delta.Stream
	State
}

func (w written) precopy(context.Context, delta.Rounds) error { return nil }

func (w written) restore(ctx context.Context, f *os.File, size int64) error {
	return w.Restore(ctx, io.NewSectionReader(f, 0, size))
}

// region is a memory region.
type region struct{ *delta.Region }

func (r region) precopy(ctx context.Context, rounds delta.Rounds) error {
	return r.Precopy(ctx, rounds)
}

func (r region) restore(_ context.Context, f *os.File, size int64) error {
	return r.Overwrite(f, size)
}
