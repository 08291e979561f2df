package keyed

import (
	"context"
	"errors"
	"fmt"

	"github.com/stratoswarm/forestall"
)

// Version says which write a value is from.
type Version struct {
	Epoch    forestall.Epoch // of the run that wrote it
	Sequence uint64          // of the write in its space, from 1, across epochs
}

// NewerThan reports whether v is from a later write of the same space than w.
func (v Version) NewerThan(w Version) bool {
	if v.Epoch != w.Epoch {
		return v.Epoch > w.Epoch
	}
	return v.Sequence > w.Sequence
}

func (v Version) String() string { return fmt.Sprintf("%s/%d", v.Epoch, v.Sequence) }

// Entry is a key's value and the version that it has.
type Entry struct {
	Version
	Value []byte
}

// Limits of a space.
const (
	MaxKey   = 1 << 10  // bytes of a key, at least 1
	MaxValue = 16 << 20 // bytes of a value
)

// What goes wrong with a space. Errors also wrap [forestall.ErrStaleEpoch].
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = errors.New("key not found")
	// ErrTooLarge: the key or value is empty or too long.
	ErrTooLarge = errors.New("key or value has a size that is not allowed")
	// ErrUncertain: the write failed on its way; it may or may not take effect.
	// Read the key before writing it again if that matters.
	ErrUncertain = errors.New("whether the write took effect is not known")
	// ErrCorrupt: what is stored is not what its checksum says.
	ErrCorrupt = errors.New("corrupt keyed state")
	// ErrClosed: the space was closed.
	ErrClosed = errors.New("closed")
)

// Space is a workload's keys as one run of it, with one epoch, sees them. Its
// methods may be called at once from any goroutine, and together are
// linearizable: a read returns the last write that was acknowledged before it
// began, or a later one.
type Space interface {
	// Replicate makes value the key's and returns its version once it would
	// survive what the space is made to survive. It keeps no reference to value.
	// Errors wrap ErrTooLarge, ErrUncertain, or [forestall.ErrStaleEpoch] when a
	// later run has opened the space. Any other, such as that of a full disk, says
	// that the write did not take effect and the space goes on.
	Replicate(ctx context.Context, key string, value []byte) (Version, error)
	// ReadConsistent returns the key's head. Errors wrap ErrNotFound, with no
	// value ever written or since deleted; ErrCorrupt; [forestall.ErrStaleEpoch]
	// as above, because a later run may have written what is not known here.
	ReadConsistent(ctx context.Context, key string) (Entry, error)
	// Delete takes the key's value away; one that has none is no error. Errors are
	// those of Replicate.
	Delete(ctx context.Context, key string) (Version, error)
}

// check refuses keys and values that no space takes.
func check(key string, value []byte) error {
	switch {
	case len(key) < 1 || len(key) > MaxKey:
		return fmt.Errorf("%w: key %.40q has %d bytes, 1 to %d are allowed", ErrTooLarge, key, len(key), MaxKey)
	case len(value) > MaxValue:
		return fmt.Errorf("%w: the value of %.40q has %d bytes, at most %d are allowed", ErrTooLarge, key, len(value), MaxValue)
	}
	return nil
}
