package checkpoint

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"github.com/zeebo/blake3"
)

// rank orders peers for a workload by rendezvous hashing (Thaler and
// Ravishankar 1998): a peer that comes or goes moves nobody else.
func rank(workload string, peers []Peer) []Peer {
	type scored struct {
		Peer
		score [32]byte
	}
	all := make([]scored, len(peers))
	for i, p := range peers {
		all[i] = scored{p, blake3.Sum256([]byte(workload + "\x00" + p.Name))}
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(bytes.Compare(b.score[:], a.score[:]), cmp.Compare(a.Name, b.Name))
	})
	out := make([]Peer, len(all))
	for i, s := range all {
		out[i] = s.Peer
	}
	return out
}

// spread adds peers to chosen, in ranked order, until there are n or no more;
// with geo each comes from a zone that has the fewest so far.
func spread(chosen, ranked []Peer, n int, geo bool) []Peer {
	used := make(map[string]int)
	for _, p := range chosen {
		used[p.Zone]++
	}
	ranked = slices.Clone(ranked)
	for len(chosen) < n && len(ranked) > 0 {
		best := 0
		if geo {
			for i, p := range ranked {
				if used[p.Zone] < used[ranked[best].Zone] {
					best = i
				}
			}
		}
		used[ranked[best].Zone]++
		chosen = append(chosen, ranked[best])
		ranked = slices.Delete(ranked, best, best+1)
	}
	return chosen
}

// spares are the peers that can take the place of those that were chosen.
type spares struct {
	mu    sync.Mutex
	peers []Peer
}

// instead takes a spare for a peer: with geo one of its zone, where there is one.
func (s *spares) instead(of Peer, geo bool) (Peer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers) == 0 {
		return Peer{}, false
	}
	i := 0
	if geo {
		i = max(0, slices.IndexFunc(s.peers, func(p Peer) bool { return p.Zone == of.Zone }))
	}
	p := s.peers[i]
	s.peers = slices.Delete(s.peers, i, i+1)
	return p, true
}
