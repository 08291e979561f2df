package migrate

import (
	"slices"
	"sync"
)

// claims are the places that movers have chosen and whose grants are not in the
// ledger yet. Without them all that a dead node held would be moved at once to the
// one node that looks best to each. Losing them (a new leader) costs balance and
// a refused grant, never safety. Safe for concurrent use.
type claims struct {
	mu sync.Mutex
	of map[string]claim // by workload
}

type claim struct {
	node string
	gpus []int
}

// granted reports whether the workload's newest grant is this claim's.
func (c claim) granted(w *WorkloadState) bool {
	h, held := w.Holder()
	return held && h.Node == c.node && slices.Equal(h.GPUs, c.gpus)
}

// choose is [Choose] among what others have not claimed, and claims what it returns
// until the workload's next choice or drop.
func (c *claims) choose(s *State, p Placement) (node string, gpus []int, err error) {
	if c == nil {
		return Choose(s, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, p.Workload)
	p.Conditions.claimed = c.of
	node, gpus, err = Choose(s, p)
	if err == nil {
		c.of[p.Workload] = claim{node, gpus}
	}
	return node, gpus, err
}

func (c *claims) drop(workload string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.of, workload)
}
