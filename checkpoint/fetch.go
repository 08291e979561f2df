package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Fetch brings a checkpoint into the local store, from the peers named in from
// first and then from any other live one, verified to the last byte. A fence
// does not stand in its way: to read old state is what recovery does. Chunks
// that one peer gave are kept when it fails and the next is asked, and all are
// asked again for as long as that brings more: each may have lost another part.
// The error names each peer and what was wrong with its answer, [ErrCorrupt] when it
// lied; [ErrNotFound] when none has it. It returns at once when the local store
// has every byte.
func (r *Replicator) Fetch(ctx context.Context, id string, from []string) error {
	if r.local.whole(id) {
		return nil
	}
	peers := preferred(r.peers(), from)
	failed := []error{fmt.Errorf("%w: no live peer to ask", ErrNotFound)}
	for patient := len(peers) < 2; len(peers) > 0; {
		failed = failed[:0]
		came, slow := int64(0), false
		for _, p := range peers {
			n, err := r.client.fetch(ctx, p, r.local, id, patient)
			if err == nil {
				return nil
			}
			if ctx.Err() != nil {
				return fmt.Errorf("fetch checkpoint %.12s: %w", id, context.Cause(ctx))
			}
			if errors.Is(err, ErrCorrupt) {
				r.doubt(p, id, err)
			}
			failed = append(failed, fmt.Errorf("%s: %w", p.Name, err))
			var theirs *remoteError
			if errors.Is(err, ErrDiskFull) && !errors.As(err, &theirs) {
				return fmt.Errorf("fetch checkpoint %.12s: %w", id, errors.Join(failed...))
			}
			came, slow = came+n, slow || errors.Is(err, errTooSlow)
		}
		if came == 0 && (patient || !slow) {
			break
		}
		patient = patient || slow
	}
	return fmt.Errorf("fetch checkpoint %.12s: %w", id, errors.Join(failed...))
}

// preferred orders peers: those named in first, in its order, then the others.
func preferred(peers []Peer, first []string) []Peer {
	place := func(p Peer) int {
		if i := slices.Index(first, p.Name); i >= 0 {
			return i
		}
		return len(first)
	}
	peers = slices.Clone(peers)
	slices.SortStableFunc(peers, func(a, b Peer) int { return place(a) - place(b) })
	return peers
}
