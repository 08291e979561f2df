package checkpoint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Pin says that a checkpoint is to stay, or no longer: retention leaves a pinned
// one, and Delete refuses it with [ErrPinned]. Each store keeps the last pin of
// what it holds in its own catalogue and shows it in lists. That it holds in every
// store of a cluster is for the cluster to agree on: the engine's ledger does, and
// writes it into each node's store.
type Pin struct {
	ID string    `json:"id"`
	On bool      `json:"on"`
	At time.Time `json:"at"` // when it was decided: of two for one checkpoint the later counts; zero: now
}

// Claim says in whose name a store is changed without a new checkpoint. Who knows
// an older epoch of the workload than the store has seen is refused, as its
// checkpoints would be: what it takes for superfluous may be what counts. The
// zero value compares nothing: an operator who names a checkpoint of one store.
type Claim struct {
	Workload string          // whose it is; "": as the store knows it
	Epoch    forestall.Epoch // the newest of the workload that the caller knows of; 0: not compared
}

// Pin keeps a checkpoint of this store until Unpin, also across restarts. The
// error wraps [ErrNotFound].
func (d *Dir) Pin(id string) error {
	return d.SetPin(context.Background(), Pin{ID: id, On: true}, Claim{})
}

// Unpin ends the effect of Pin.
func (d *Dir) Unpin(id string) error {
	return d.SetPin(context.Background(), Pin{ID: id}, Claim{})
}

// SetPin keeps a checkpoint of this store, or lets it go again, unless it knows
// a later pin. It is durable when SetPin returns. Errors wrap [ErrNotFound] and
// [forestall.ErrStaleEpoch].
func (d *Dir) SetPin(ctx context.Context, p Pin, by Claim) error {
	err := ctx.Err()
	if err == nil {
		err = d.changeKept(p.ID, by, func() error { return d.setPin(p) })
	}
	if err != nil {
		return fmt.Errorf("pin checkpoint %.12s: %w", p.ID, err)
	}
	return nil
}

func (d *Dir) setPin(p Pin) error {
	was := d.pin(p.ID)
	switch {
	case p.At.IsZero() && p.On == was.On, !p.At.IsZero() && !p.At.After(was.At):
		return nil
	case p.At.IsZero():
		if p.At = d.opt.Now(); !p.At.After(was.At) {
			p.At = was.At.Add(1)
		}
	}
	r, err := p.record()
	if err != nil {
		return err
	}
	if err := d.diskFull(d.catalogue.note(true, r)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pins[p.ID] = p
	return nil
}

// pin returns a checkpoint's last pin; its time is zero when there is none.
func (d *Dir) pin(id string) Pin {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.pins[id]; ok {
		return p
	}
	return Pin{ID: id}
}

// Pinned reports whether a checkpoint is pinned.
func (d *Dir) Pinned(id string) bool { return d.pin(id).On }

// Pins returns the last pin of each checkpoint of this store that ever had one,
// by ID: those that were let go again too, for stores that have not heard of it.
func (d *Dir) Pins() []Pin {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []Pin{}
	for _, p := range d.pins {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Pin) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// record is the pin as the catalogue has it.
func (p Pin) record() (record, error) {
	h, err := parseHash(p.ID)
	r := record{kind: recordUnpin, id: h, number: uint64(p.At.UnixNano())}
	if p.On {
		r.kind = recordPin
	}
	return r, err
}

// pinOf reads what record wrote. Pins of older programs have no time.
func pinOf(r record) Pin {
	p := Pin{ID: r.id.String(), On: r.kind == recordPin}
	if r.number > 0 {
		p.At = time.Unix(0, int64(r.number)).UTC()
	} else if p.On {
		p.At = time.Unix(0, 0).UTC()
	}
	return p
}
