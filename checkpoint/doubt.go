package checkpoint

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Doubt says that a peer answered what is corrupt or not so.
type Doubt struct {
	Peer  string
	Count int       // since this process began
	Last  time.Time // when it was found last
	Why   string    // then
}

// doubts are those of all peers.
type doubts struct {
	mu sync.Mutex
	of map[string]Doubt
}

// doubt counts and logs a wrong answer of a peer about a checkpoint.
func (r *Replicator) doubt(p Peer, id string, why error) {
	r.cfg.Metrics.badReply(p.Name)
	r.cfg.Logger.Error("peer gave corrupt or false answers about a checkpoint", "peer", p.Name, "checkpoint", id, "error", why)
	r.doubts.mu.Lock()
	defer r.doubts.mu.Unlock()
	if r.doubts.of == nil {
		r.doubts.of = make(map[string]Doubt)
	}
	r.doubts.of[p.Name] = Doubt{p.Name, r.doubts.of[p.Name].Count + 1, r.cfg.Now(), why.Error()}
}

// Doubts returns which peers gave wrong answers, by name.
func (r *Replicator) Doubts() (all []Doubt) {
	r.doubts.mu.Lock()
	defer r.doubts.mu.Unlock()
	for _, d := range r.doubts.of {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b Doubt) int { return strings.Compare(a.Peer, b.Peer) })
	return all
}
