package checkpoint

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/stratoswarm/forestall"
)

// Remote is the [Store] that another node's [Handler] serves. Each request, not
// each Put, has the time limit.
func Remote(p Peer, c *http.Client, timeout time.Duration) Store {
	return remote{p, newClient(c, timeout)}
}

type remote struct {
	peer   Peer
	client client
}

var _ Store = remote{}

func (r remote) Put(ctx context.Context, p *Parcel) error {
	return r.wrap(r.client.push(ctx, r.peer, p))
}

func (r remote) Open(ctx context.Context, id string) (*Parcel, error) {
	p, err := r.client.open(ctx, r.peer, id)
	return p, r.wrap(err)
}

func (r remote) List(ctx context.Context, workload string) ([]forestall.Checkpoint, error) {
	cps, err := r.client.list(ctx, r.peer, workload)
	return cps, r.wrap(err)
}

func (r remote) Delete(ctx context.Context, id string, by Claim) error {
	return r.wrap(r.client.remove(ctx, r.peer, id, by))
}

func (r remote) Pin(ctx context.Context, p Pin, by Claim) error {
	return r.wrap(r.client.pin(ctx, r.peer, p, by))
}

func (r remote) Pins(ctx context.Context) ([]Pin, error) {
	pins, err := r.client.pins(ctx, r.peer)
	return pins, r.wrap(err)
}

func (r remote) Fence(ctx context.Context, workload string, e forestall.Epoch) error {
	if err := forestall.CheckName(workload); err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	return r.wrap(r.client.fence(ctx, r.peer, workload, e))
}

func (r remote) Fenced(ctx context.Context, workload string) (forestall.Epoch, error) {
	if err := forestall.CheckName(workload); err != nil {
		return 0, fmt.Errorf("fence: %w", err)
	}
	e, err := r.client.fenced(ctx, r.peer, workload)
	return e, r.wrap(err)
}

func (r remote) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("peer %s: %w", r.peer.Name, err)
}
