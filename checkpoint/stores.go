package checkpoint

import (
	"context"
	"time"

	"github.com/stratoswarm/forestall"
)

// Store is where whole checkpoints are kept: a directory ([Local]), another
// node's directory ([Remote]), an object store. What a store shows is whole: a
// checkpoint whose Put was cut off is not listed and cannot be opened. Methods
// may be called at once from any goroutine. Package storetest has the suite
// that every implementation passes, faults included.
type Store interface {
	// Put takes in a checkpoint, asking the parcel only for chunks that the
	// store lacks. Repeating it is harmless: a lost reply may have succeeded.
	// Errors wrap [forestall.ErrStaleEpoch] when its epoch is below the fence.
	Put(ctx context.Context, p *Parcel) error
	// Open finds a checkpoint to be read; the error wraps [ErrNotFound].
	Open(ctx context.Context, id string) (*Parcel, error)
	// List returns what is held of workload, newest state first, or, of all
	// workloads when it is "", latest first.
	List(ctx context.Context, workload string) ([]forestall.Checkpoint, error)
	Keeper
	Fencer
}

// Keeper decides which checkpoints stay. Both methods refuse a stale claim with
// an error that wraps [forestall.ErrStaleEpoch], and what the store does not hold
// with one that wraps [ErrNotFound].
type Keeper interface {
	// Delete drops a checkpoint and no other; a pinned one is refused with an error
	// that wraps [ErrPinned].
	Delete(ctx context.Context, id string, by Claim) error
	// Pin keeps a checkpoint from retention and Delete, or lets it go again, unless
	// the store knows a later pin of it.
	Pin(ctx context.Context, p Pin, by Claim) error
	// Pins returns the last pin of each checkpoint that ever had one.
	Pins(ctx context.Context) ([]Pin, error)
}

// Fencer refuses the checkpoints of epochs that are over.
type Fencer interface {
	// Fence refuses checkpoints of workload below e: once it has returned, none
	// can appear. Lower than the present fence wraps [forestall.ErrStaleEpoch].
	Fence(ctx context.Context, workload string, e forestall.Epoch) error
	// Fenced returns the lowest epoch that is accepted; 0: never fenced.
	Fenced(ctx context.Context, workload string) (forestall.Epoch, error)
}

// Local is the [Store] that a directory is.
func Local(d *Dir) Store { return local{d} }

type local struct{ d *Dir }

var _ Store = local{}

func (l local) Put(ctx context.Context, p *Parcel) error {
	_, err := l.d.take(ctx, p, false, admitPushed)
	return err
}

func (l local) Open(ctx context.Context, id string) (*Parcel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.d.Parcel(id)
}

func (l local) List(ctx context.Context, workload string) ([]forestall.Checkpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.d.List(workload)
}

func (l local) Delete(ctx context.Context, id string, by Claim) error { return l.d.Drop(ctx, id, by) }

func (l local) Pin(ctx context.Context, p Pin, by Claim) error { return l.d.SetPin(ctx, p, by) }

func (l local) Pins(ctx context.Context) ([]Pin, error) { return l.d.Pins(), ctx.Err() }

func (l local) Fence(ctx context.Context, workload string, e forestall.Epoch) error {
	return l.d.Fence(ctx, workload, e)
}

func (l local) Fenced(ctx context.Context, workload string) (forestall.Epoch, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return l.d.Fenced(workload)
}

// Copy puts a checkpoint of one store into another.
func Copy(ctx context.Context, to, from Store, id string) error {
	p, err := from.Open(ctx, id)
	if err != nil {
		return err
	}
	defer p.Close()
	return to.Put(ctx, p)
}

// Expired returns the checkpoints that retention lets go at now: those of an
// older state, except the newest of each workload, pinned ones and what keep,
// when not nil, says.
func Expired(all []forestall.Checkpoint, retention time.Duration, now time.Time, keep func(forestall.Checkpoint) bool) []forestall.Checkpoint {
	return Retention{All: retention}.expired(all, now, keep, anyWhole)
}
