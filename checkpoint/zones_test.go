package checkpoint

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stratoswarm/forestall"
)

const underSpread = "fault_tolerance_checkpoint_under_spread"

// TestQuorumSpansZones: a checkpoint counts once a node in another zone holds it
// too, however late that one answers, so that a site can be lost; when none there
// takes it, it counts nevertheless, and that is told.
func TestQuorumSpansZones(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		geo         bool
		consistency Consistency
		far         string // what n2, the only one in its zone, does
		away        bool
		near        float64
	}{
		{"the other zone is last", true, ConsistencyQuorum, "waits", true, 0},
		{"the other zone fails", true, ConsistencyQuorum, "fails", false, 1},
		{"zones do not matter", false, ConsistencyQuorum, "fails", false, 0},
		{"one store is enough", true, ConsistencyOne, "fails", false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewRegistry()
			m := must[*Metrics](t)(NewMetrics(reg, time.Now))
			cl := newCluster(t, 3, func(cfg *ReplicatorConfig) {
				cfg.Geo, cfg.Consistency = c.geo, c.consistency
				if cfg.Self.Name == "n1" {
					cfg.Metrics = m
				}
			})
			cp, want := cl.save(t, 1)
			cl.instead(func(node string, w http.ResponseWriter, r *http.Request) bool {
				if node != "n2" {
					return false
				}
				if c.far == "fails" {
					refuseAs(w, "disk_full", http.StatusInsufficientStorage)
					return true
				}
				await(t, "n3 holds it", func() bool { _, err := cl.stores[2].Get(cp.ID); return err == nil })
				return false
			})
			replicas, err := cl.repls[0].Push(t.Context(), cp.ID)
			if err != nil || c.away != slices.Contains(replicas, "n2") {
				t.Fatalf("replicas %v, error %v", replicas, err)
			}
			if n := gathered(t, reg, underSpread, "w"); n != c.near {
				t.Errorf("under-spread is %v, want %v", n, c.near)
			}
			if !c.away {
				return
			}
			cl.instead(nil)
			cl.broken[0].Store(true) // the site is lost
			cl.broken[2].Store(true)
			cl.fresh(t)
			if err := cl.repls[3].Fetch(t.Context(), cp.ID, nil); err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(t.TempDir(), "t")
			if err := cl.stores[3].Restore(t.Context(), cp.ID, target); err != nil {
				t.Fatal(err)
			}
			sameTree(t, want, readTree(t, target))
		})
	}
}

// TestLostZone: where the other zone is known and nobody of it is alive, a
// checkpoint counts in one, and that is told.
func TestLostZone(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := must[*Metrics](t)(NewMetrics(reg, time.Now))
	c := newCluster(t, 3, func(cfg *ReplicatorConfig) {
		cfg.Zones = func() int { return 2 }
		if cfg.Self.Name == "n1" {
			cfg.Metrics = m
		}
	})
	c.peers[1].Zone = "z0" // nobody is in z1
	cp, _ := c.save(t, 1)
	if replicas, err := c.repls[0].Push(t.Context(), cp.ID); err != nil || len(replicas) != 2 {
		t.Fatalf("replicas %v, error %v", replicas, err)
	}
	if n := gathered(t, reg, underSpread, "w"); n != 1 {
		t.Errorf("under-spread is %v, want 1", n)
	}
}

// TestSlowZone: a zone that is far away is waited for as long as one request may
// take, and gets the checkpoint a while later.
func TestSlowZone(t *testing.T) {
	dir, src := t.TempDir(), state(t)
	reg := prometheus.NewRegistry()
	m := must[*Metrics](t)(NewMetrics(reg, time.Now))
	synctest.Test(t, func(t *testing.T) {
		open := func(name string) *Dir { return must[*Dir](t)(OpenDir(filepath.Join(dir, name), small())) }
		own, near, far := open("own"), open("near"), open("far")
		cp := must[forestall.Checkpoint](t)(own.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		net := inProcess{map[string]http.Handler{"near": Handler(near), "far": Handler(far)}, map[string]time.Duration{"far": 9 * time.Second}}
		cfg := DefaultReplicatorConfig()
		cfg.Self, cfg.ClusterSize, cfg.Client, cfg.Metrics = Peer{Name: "own", Zone: "a"}, func() int { return 3 }, &http.Client{Transport: net}, m
		r := must[*Replicator](t)(NewReplicator(own, cfg, func() []Peer {
			return []Peer{{Name: "near", URL: "http://near", Zone: "a"}, {Name: "far", URL: "http://far", Zone: "b"}}
		}))
		began := time.Now()
		replicas, err := r.Push(t.Context(), cp.ID)
		if took := time.Since(began); err != nil || !slices.Equal(replicas, []string{"own", "near"}) || took != cfg.Timeout {
			t.Errorf("replicas %v, error %v, took %v", replicas, err, took)
		}
		if n := gathered(t, reg, underSpread, "w"); n != 1 {
			t.Errorf("under-spread is %v, want 1", n)
		}
		time.Sleep(10 * time.Minute) // virtual
		synctest.Wait()
		if n := gathered(t, reg, underSpread, "w"); n != 0 {
			t.Errorf("at last under-spread is %v, want 0", n)
		}
		if err := far.Verify(t.Context(), cp.ID); err != nil {
			t.Error(err)
		}
		for _, d := range []*Dir{own, near, far} {
			closeDir(t, d)
		}
	})
}

// TestPushReplacesFailedPeers: peers that die or run out of disk in the middle of a
// push are replaced by others that are alive.
func TestPushReplacesFailedPeers(t *testing.T) {
	t.Parallel()
	for _, consistency := range []Consistency{ConsistencyQuorum, ConsistencyAll} {
		c := newCluster(t, 5, func(cfg *ReplicatorConfig) { cfg.Consistency = consistency })
		places := c.repls[0].Place("w")
		var came [2]atomic.Int64
		c.instead(func(node string, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/chunks/") {
				return false
			}
			switch {
			case node == places[1].Name && came[0].Add(1) > 3:
				panic(http.ErrAbortHandler)
			case node == places[2].Name && came[1].Add(1) > 2:
				refuseAs(w, "disk_full", http.StatusInsufficientStorage)
				return true
			}
			return false
		})
		cp, _ := c.save(t, 1)
		replicas, err := c.repls[0].Push(t.Context(), cp.ID)
		if err != nil || len(replicas) < c.repls[0].needed() {
			t.Fatalf("replicas %v, error %v", replicas, err)
		}
		zones := map[string]bool{}
		for i, p := range c.peers {
			if slices.Contains(replicas, p.Name) {
				zones[p.Zone] = true
				if err := c.stores[i].Verify(t.Context(), cp.ID); err != nil {
					t.Errorf("%s: %v", p.Name, err)
				}
			}
		}
		if len(zones) != 2 || slices.Contains(replicas, places[1].Name) || slices.Contains(replicas, places[2].Name) {
			t.Errorf("replicas %v in zones %v; %v have failed", replicas, zones, places[1:])
		}
	}
}

// TestPushesDoNotPileUp: a peer that takes checkpoints more slowly than they come
// has one on its way and the newest waiting, and gets that one too.
func TestPushesDoNotPileUp(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, func(cfg *ReplicatorConfig) { cfg.Consistency, cfg.Timeout = ConsistencyOne, time.Minute })
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	c.instead(func(string, http.ResponseWriter, *http.Request) bool { <-gate; return false })
	src := state(t)
	var (
		cps   []forestall.Checkpoint
		last  *waiter
		turns = &c.repls[0].turns
	)
	for i := range 6 {
		writeFiles(t, src, map[string]string{"n": fmt.Sprint(i)})
		cp := must[forestall.Checkpoint](t)(c.stores[0].Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		cps = append(cps, cp)
		must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))
		await(t, "its turn or a place to wait", func() bool {
			turns.busy.mu.Lock()
			began := len(turns.busy.held) > 0
			turns.busy.mu.Unlock()
			turns.mu.Lock()
			defer turns.mu.Unlock()
			now := turns.waiting["w\x00n2"]
			ok := began && (i == 0 && now == nil || i > 0 && now != nil && now != last)
			if ok {
				last = now
			}
			return ok
		})
	}
	await(t, "two are held", func() bool {
		c.stores[0].mu.Lock()
		defer c.stores[0].mu.Unlock()
		return len(c.stores[0].holds) == 2
	})
	open()
	await(t, "the newest is there", func() bool { _, err := c.stores[1].Get(cps[5].ID); return err == nil })
	for i, cp := range cps[1:5] {
		if _, err := c.stores[1].Get(cp.ID); err == nil {
			t.Errorf("checkpoint %d was pushed, although a newer one waited", i+1)
		}
	}
}
