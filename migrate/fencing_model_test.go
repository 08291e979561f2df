package migrate

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// random injects faults for a while, heals everything and returns what was
// violated.
func random(seed uint64, broken mutation) (*world, error) {
	w := newWorld(seed)
	w.broken = broken
	for _, n := range w.nodes { // takes the mutation into its lease table
		w.crashEngine(n, time.Millisecond)
	}
	w.runUntil(2 * time.Second)
	w.faulty = true
	const until = 14 * time.Second
	for w.now < until && len(w.faults) == 0 {
		w.fault()
		w.runUntil(w.now + time.Duration(50+w.rng.IntN(900))*time.Millisecond)
	}
	return w, w.heal()
}

func (w *world) fault() {
	n := w.nodes[w.rng.IntN(3)]
	back := time.Duration(100+w.rng.IntN(4000)) * time.Millisecond
	switch w.rng.IntN(16) {
	case 0, 1:
		w.crashEngine(n, back)
	case 2:
		w.crashMachine(n, back)
	case 3:
		w.crashShim(n)
	case 4, 5:
		w.notef("%s is cut off", n.name)
		for i := range 3 {
			if i != n.index {
				w.cut[n.index][i], w.cut[i][n.index] = true, true
			}
		}
	case 6:
		o := w.nodes[(n.index+1)%3]
		w.notef("%s and %s are cut apart", n.name, o.name)
		w.cut[n.index][o.index], w.cut[o.index][n.index] = true, true
	case 7, 10, 11:
		w.notef("the network heals")
		w.cut = [3][3]bool{}
	case 8:
		w.notef("%s pauses for %s", n.name, back)
		n.pausedUntil = w.now + back
	case 9:
		if w.quorum(n) {
			w.elect(n)
		}
	default:
		w.migrate()
	}
}

func schedules(t testing.TB, fallback int) int {
	v := os.Getenv("FENCING_SCHEDULES")
	if v == "" {
		return fallback
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("FENCING_SCHEDULES=%q is no number", v)
	}
	return n
}

// TestFencingRandom explores random schedules. FENCING_SCHEDULES says how many,
// FENCING_SEED where to begin: a failure prints the seed that replays it.
func TestFencingRandom(t *testing.T) {
	first := uint64(1)
	if v := os.Getenv("FENCING_SEED"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("FENCING_SEED=%q is no number", v)
		}
		first = n
	}
	n := schedules(t, 1000)
	if testing.Short() {
		n = schedules(t, 200)
	}
	var starts, entries int
	for seed := first; seed < first+uint64(n); seed++ {
		w, err := random(seed, mutation{})
		if err != nil {
			t.Fatalf("FENCING_SEED=%d FENCING_SCHEDULES=1: %v\n%s", seed, err, strings.Join(w.notes, "\n"))
		}
		starts += len(w.ran)
		entries += len(w.log)
	}
	t.Logf("%d schedules, %.1f runs started and %.0f entries in each", n, float64(starts)/float64(n), float64(entries)/float64(n))
}

// TestFencingHoldsByLeases leaves out the question to the replicas, whose
// quorums need not meet in clusters larger than the replication factor: leases
// alone keep two copies apart.
func TestFencingHoldsByLeases(t *testing.T) {
	n := schedules(t, 300)
	for seed := range uint64(n) {
		if w, err := random(seed+1, mutation{noFenceCheck: true}); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed+1, err, strings.Join(w.notes, "\n"))
		}
	}
}

// TestFencingModelCatches leaves out one rule after the other: the schedules
// have to find the two copies that follow. The rare ones begin at a seed near
// one that a longer search found.
func TestFencingModelCatches(t *testing.T) {
	for name, c := range map[string]struct {
		broken mutation
		first  uint64
	}{
		"no wait for the lease":              {mutation{noLeaseWait: true}, 1},
		"no wait after an election":          {mutation{noElectionWait: true}, 1},
		"no lease and fence check at start":  {mutation{noStartCheck: true}, 1},
		"no quorum confirmation of a leader": {mutation{noVerify: true}, 1},
		"lease counted from the answer":      {mutation{fromReceipt: true}, 2400},
		"a late shim that does not look":     {mutation{noShimCheck: true}, 2200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const most = 20_000
			for seed := c.first; seed < c.first+most; seed++ {
				if w, _ := random(seed, c.broken); len(w.faults) > 0 {
					t.Logf("caught by seed %d: %s", seed, w.faults[0])
					return
				}
			}
			t.Errorf("%d schedules did not notice", most)
		})
	}
}
