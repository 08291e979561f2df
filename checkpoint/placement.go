package checkpoint

import (
	"bytes"
	"cmp"
	"slices"

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
