package engine

import (
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestLastSeen: a node's last sign of life is its last report, or its last answer as
// the leader, also when another leads by now; one that is older than detection takes
// is none. Who lists the members sees for how long each has been silent.
func TestLastSeen(t *testing.T) {
	w := newWatched(t, watchedConfig(t.TempDir()), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	defer w.close()
	of := func(node string) report {
		r := report{Scored: 1, Risks: []forestall.Risk{}}
		r.Self.Name = node
		return r
	}
	at := func(s int) time.Time { return w.now.Add(time.Duration(s) * time.Second) }
	w.reports.take(of("n2"), at(0))
	w.reports.take(of("n3"), at(3))
	w.cluster.heard("n5", at(4))
	w.cluster.heard("n2", at(4))
	w.cluster.heard("n2", at(5))
	for node, want := range map[string]time.Time{"n2": at(5), "n3": at(3), "n4": {}, "n5": at(4)} {
		if got := w.lastSeen(node, at(10)); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", node, got, want)
		}
	}
	if got := w.lastSeen("n3", at(64)); !got.IsZero() {
		t.Errorf("a minute later: %s", got)
	}
	w.now = at(3600)
	members := []forestall.Member{{Name: "n1"}, {Name: "n2"}, {Name: "n4"}}
	w.sinceSeen(members)
	if got := members[1].LastSeen; got != 3595*time.Second || members[0].LastSeen != 0 || members[2].LastSeen != 0 {
		t.Errorf("an hour later members are %+v", members)
	}
}
