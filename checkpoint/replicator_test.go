package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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

// cluster is stores that reach each other over loopback.
type cluster struct {
	stores []*Dir
	peers  []Peer
	repls  []*Replicator
	broken []*atomic.Bool // its server hangs up

	mu     sync.Mutex
	answer func(node string, w http.ResponseWriter, r *http.Request) bool // may answer in the server's stead
}

func newCluster(t *testing.T, n int, change func(*ReplicatorConfig)) *cluster {
	t.Helper()
	c := &cluster{}
	var ends sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	transport := &http.Transport{}
	for i := range n {
		d := openDir(t, small())
		c.stores = append(c.stores, d)
		broken := new(atomic.Bool)
		c.broken = append(c.broken, broken)
		name := fmt.Sprintf("n%d", i+1)
		h := http.StripPrefix("/peer/checkpoints", Handler(d))
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				panic(http.ErrAbortHandler)
			}
			c.mu.Lock()
			answer := c.answer
			c.mu.Unlock()
			if answer == nil || !answer(name, w, r) {
				h.ServeHTTP(w, r)
			}
		}))
		t.Cleanup(srv.Close)
		c.peers = append(c.peers, Peer{Name: name, URL: srv.URL + "/peer/checkpoints/", Zone: fmt.Sprintf("z%d", i%2)})
	}
	for i := range n {
		cfg := DefaultReplicatorConfig()
		cfg.Self = c.peers[i]
		cfg.ClusterSize = func() int { return n }
		cfg.Client = &http.Client{Transport: transport}
		cfg.Timeout = 5 * time.Second
		if change != nil {
			change(&cfg)
		}
		r := must[*Replicator](t)(NewReplicator(c.stores[i], cfg, func() []Peer {
			return slices.DeleteFunc(slices.Clone(c.peers), func(p Peer) bool { return p.Name == cfg.Self.Name })
		}))
		c.repls = append(c.repls, r)
		ends.Go(func() { _ = r.Run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		ends.Wait()
		transport.CloseIdleConnections()
	})
	return c
}

func (c *cluster) instead(f func(node string, w http.ResponseWriter, r *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

// save makes a checkpoint in the first store.
func (c *cluster) save(t *testing.T, epoch forestall.Epoch) (forestall.Checkpoint, map[string]node) {
	t.Helper()
	src := state(t)
	cp := must[forestall.Checkpoint](t)(c.stores[0].Save(t.Context(), Snapshot{Workload: "w", Epoch: epoch, Source: src}))
	return cp, readTree(t, src)
}

// await waits for what happens in the background.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("did not happen within 30 s: %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestPushReachesAQuorumThenAll(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	cp, want := c.save(t, 1)
	replicas, err := c.repls[0].Push(t.Context(), cp.ID)
	if err != nil || len(replicas) < 2 || replicas[0] != "n1" {
		t.Fatalf("replicas %v, error %v", replicas, err)
	}
	for i := range c.stores {
		await(t, c.peers[i].Name+" holds it", func() bool { _, err := c.stores[i].Get(cp.ID); return err == nil })
		target := filepath.Join(t.TempDir(), "t")
		if err := c.stores[i].Restore(t.Context(), cp.ID, target); err != nil {
			t.Fatal(err)
		}
		sameTree(t, want, readTree(t, target))
	}
}

func TestPushSendsOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	var chunks atomic.Int64
	c.instead(func(_ string, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/chunks/") {
			chunks.Add(1)
		}
		return false
	})
	src := state(t)
	first := must[forestall.Checkpoint](t)(c.stores[0].Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	must[[]string](t)(c.repls[0].Push(t.Context(), first.ID))
	if n := chunks.Swap(0); n < 10 {
		t.Errorf("first push sent %d chunks", n)
	}
	writeFiles(t, src, map[string]string{"model/config": "a = 2\n"})
	second := must[forestall.Checkpoint](t)(c.stores[0].Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	must[[]string](t)(c.repls[0].Push(t.Context(), second.ID))
	if n := chunks.Load(); n != 2 {
		t.Errorf("second push sent %d chunks, want the changed one and the tree's block", n)
	}
}

func TestPushWithFailedPeers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		consistency Consistency
		down        []int
		held        int
		is          error
	}{
		{"quorum, one down", ConsistencyQuorum, []int{1}, 2, nil},
		{"quorum, two down", ConsistencyQuorum, []int{1, 2}, 1, ErrUnderReplicated},
		{"all, one down", ConsistencyAll, []int{2}, 2, ErrUnderReplicated},
		{"one, two down", ConsistencyOne, []int{1, 2}, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			m := must[*Metrics](t)(NewMetrics(reg, time.Now))
			cl := newCluster(t, 3, func(cfg *ReplicatorConfig) {
				cfg.Consistency = c.consistency
				if cfg.Self.Name == "n1" {
					cfg.Metrics = m
				}
			})
			for _, i := range c.down {
				cl.broken[i].Store(true)
			}
			cp, _ := cl.save(t, 1)
			replicas, err := cl.repls[0].Push(t.Context(), cp.ID)
			if !errors.Is(err, c.is) || len(replicas) != c.held {
				t.Fatalf("replicas %v, error %v; want %d and %v", replicas, err, c.held, c.is)
			}
			for _, i := range c.down {
				if err != nil && !strings.Contains(err.Error(), cl.peers[i].Name+": ") {
					t.Errorf("error does not name %s: %v", cl.peers[i].Name, err)
				}
			}
			await(t, "the gauge settles", func() bool {
				return gathered(t, reg, "fault_tolerance_checkpoint_under_replicated", "w") == float64(len(c.down))
			})
		})
	}
}

// With a factor above the cluster's size the size decides, but nodes that are
// known and down still count.
func TestFactorOfASmallCluster(t *testing.T) {
	t.Parallel()
	alone := newCluster(t, 1, nil)
	cp, _ := alone.save(t, 1)
	if replicas, err := alone.repls[0].Push(t.Context(), cp.ID); err != nil || !slices.Equal(replicas, []string{"n1"}) {
		t.Errorf("alone: %v %v", replicas, err)
	}
	lonely := newCluster(t, 1, func(cfg *ReplicatorConfig) { cfg.ClusterSize = func() int { return 3 } })
	cp, _ = lonely.save(t, 1)
	if _, err := lonely.repls[0].Push(t.Context(), cp.ID); !errors.Is(err, ErrUnderReplicated) {
		t.Errorf("one of three: %v, want ErrUnderReplicated", err)
	}
	if _, err := lonely.repls[0].Fence(t.Context(), "w", 3); !errors.Is(err, ErrUnderReplicated) {
		t.Errorf("fence by one of three: %v, want ErrUnderReplicated", err)
	}
}

func TestPushOfAStaleEpoch(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, nil)
	cp, _ := c.save(t, 1)
	c.broken[0].Store(true) // what a zombie sees of itself is not asked here
	acks, err := c.repls[1].Fence(t.Context(), "w", 7)
	if err != nil || len(acks) < 2 {
		t.Fatalf("fence: %v %v", acks, err)
	}
	if _, err := c.repls[0].Push(t.Context(), cp.ID); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("push: %v, want ErrStaleEpoch", err)
	}
	if _, err := c.stores[1].Get(cp.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a fenced store took the checkpoint")
	}
	if e, err := c.repls[2].Fenced(t.Context(), "w"); err != nil || e != 7 {
		t.Errorf("fenced at %v (%v), want 7", e, err)
	}
	if _, err := c.repls[2].Fence(t.Context(), "w", 6); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("lower fence: %v, want ErrStaleEpoch", err)
	}
	if _, err := c.repls[2].Fence(t.Context(), "w", 7); err != nil {
		t.Errorf("equal fence: %v", err)
	}
}

func TestPushRetriesWhatThePeerDropped(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	var once sync.Once
	c.instead(func(_ string, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			once.Do(func() { c.stores[1].inbox.expire(time.Now().Add(time.Hour)) })
		}
		return false
	})
	cp, _ := c.save(t, 1)
	must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))
	if err := c.stores[1].Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
}

func TestFetchTriesTheNextPeer(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, func(cfg *ReplicatorConfig) { cfg.Consistency = ConsistencyAll })
	cp, want := c.save(t, 1)
	must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))

	// n2 flips a bit in some of what it sends.
	c.instead(func(node string, w http.ResponseWriter, r *http.Request) bool {
		if node != "n2" || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/chunks/") {
			return false
		}
		b, _, err := c.stores[1].readStored(nil, must[hash](t)(parseHash(filepath.Base(r.URL.Path))))
		if err != nil {
			t.Error(err)
		}
		b[len(b)-1] ^= 1
		_, _ = io.Copy(w, bytes.NewReader(b))
		return true
	})
	reg := c.fresh(t)
	newcomer := c.repls[3]
	if err := newcomer.Fetch(t.Context(), cp.ID, []string{"n2"}); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := c.stores[3].Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, want, readTree(t, target))
	if n := gathered(t, reg, "fault_tolerance_checkpoint_bad_replies_total", "n2"); n != 1 {
		t.Errorf("%v bad replies of n2 counted, want 1", n)
	}
	if err := newcomer.Fetch(t.Context(), cp.ID, nil); err != nil {
		t.Errorf("fetching what is here: %v", err)
	}

	// Rot that is found later is healed from the peers.
	damageChunk(t, c.stores[3], someChunk(t, c.stores[3], cp))
	if err := c.stores[3].Verify(t.Context(), cp.ID); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("verify: %v, want ErrCorrupt", err)
	}
	if err := newcomer.Fetch(t.Context(), cp.ID, []string{"n3"}); err != nil {
		t.Fatal(err)
	}
	if err := c.stores[3].Verify(t.Context(), cp.ID); err != nil {
		t.Errorf("after healing: %v", err)
	}

	err := newcomer.Fetch(t.Context(), strings.Repeat("ab", 32), nil)
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "n1: ") || !strings.Contains(err.Error(), "n3: ") {
		t.Errorf("error %v, want ErrNotFound naming every peer", err)
	}
}

// fresh adds a node n4 that only asks, and returns its metrics.
func (c *cluster) fresh(t *testing.T) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg := DefaultReplicatorConfig()
	cfg.Self = Peer{Name: "n4"}
	cfg.ClusterSize = func() int { return 4 }
	cfg.Client = c.repls[0].cfg.Client
	cfg.Metrics = must[*Metrics](t)(NewMetrics(reg, time.Now))
	c.stores = append(c.stores, openDir(t, small()))
	c.repls = append(c.repls, must[*Replicator](t)(NewReplicator(c.stores[3], cfg, func() []Peer { return c.peers })))
	return reg
}

func TestRunEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	defer close(hang)
	c := newCluster(t, 2, func(cfg *ReplicatorConfig) { cfg.Consistency = ConsistencyOne })
	c.instead(func(_ string, _ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		return true
	})
	cp, _ := c.save(t, 1)
	must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.repls[0].Run(ctx); err != nil {
		t.Error(err)
	}
	if _, err := c.repls[0].Push(t.Context(), cp.ID); !errors.Is(err, ErrClosed) {
		t.Errorf("push after Run: %v, want ErrClosed", err)
	}
	if n := len(c.stores[0].holds); n != 0 {
		t.Errorf("%d holds are still open", n)
	}
}

func TestHandlerRefuses(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, nil)
	cp, _ := c.save(t, 1)
	raw := must[[]byte](t)(c.stores[0].manifestBytes(cp.ID))
	cl := c.repls[0].client
	none := strings.Repeat("0", 64)
	for _, q := range []struct {
		method, path string
		body         []byte
		is           error
	}{
		{"GET", "/v1/manifests/" + none, nil, ErrNotFound},
		{"GET", "/v1/manifests/..%2f..%2fetc", nil, ErrNotFound},
		{"PUT", "/v1/manifests/" + none, raw, ErrCorrupt},
		{"PUT", "/v1/manifests/" + cp.ID, raw[1:], ErrCorrupt},
		{"GET", "/v1/chunks/" + none, nil, ErrNotFound},
		{"GET", "/v1/chunks/..%2fLOCK", nil, forestall.ErrBadName},
		{"PUT", "/v1/chunks/" + none, []byte("x"), ErrCorrupt},
		{"POST", "/v1/missing", []byte("odd"), forestall.ErrBadName},
		{"GET", "/v1/fences/a%2fb", nil, forestall.ErrBadName},
		{"PUT", "/v1/fences/w", []byte("{"), forestall.ErrBadName},
	} {
		if _, err := cl.do(t.Context(), c.peers[0], q.method, q.path, q.body, 1<<20); !errors.Is(err, q.is) {
			t.Errorf("%s %s: %v, want %v", q.method, q.path, err, q.is)
		}
	}
	b, err := cl.do(t.Context(), c.peers[0], "GET", "/v1/manifests?workload=w", nil, 1<<20)
	if err != nil || !bytes.Contains(b, []byte(cp.ID)) {
		t.Errorf("list: %s %v", b, err)
	}
}

func TestPlacePrefersOtherZones(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 5, nil) // n1, n3, n5 in z0; n2, n4 in z1
	for _, w := range []string{"a", "b", "c", "d", "e"} {
		places := c.repls[0].Place(w)
		if len(places) != 3 || places[0].Name != "n1" || places[1].Zone != "z1" {
			t.Errorf("%s is placed at %v, want n1, then the other zone", w, places)
		}
		for i := range c.repls {
			if got := c.repls[i].guardians(w); len(got) != 3 || !maps.Equal(got, c.repls[0].guardians(w)) {
				t.Errorf("n%d sees other guardians of %s: %v", i+1, w, got)
			}
		}
	}
}

func TestPushSaysWhoseCopyIsRotten(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	cp, _ := c.save(t, 1)
	file := damageChunk(t, c.stores[0], someChunk(t, c.stores[0], cp))
	if _, err := c.repls[0].Push(t.Context(), cp.ID); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "the local copy") || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v, want ErrCorrupt naming %s", err, file)
	}
}

// TestPushAsksLittle pushes a tree of many files twice: the second time the peer
// is asked about the few blocks that changed, not about every chunk.
func TestPushAsksLittle(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, nil)
	var asked atomic.Int64
	c.instead(func(_ string, _ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/missing") {
			asked.Add(r.ContentLength / int64(len(hash{})))
		}
		return false
	})
	src := t.TempDir()
	for i := range 3000 {
		writeFiles(t, src, map[string]string{fmt.Sprintf("d%d/f%d", i%7, i): fmt.Sprint("content ", i)})
	}
	save := func() (forestall.Checkpoint, int64) {
		t.Helper()
		asked.Store(0)
		cp := must[forestall.Checkpoint](t)(c.stores[0].Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))
		return cp, asked.Load()
	}
	if _, n := save(); n < 3000 {
		t.Errorf("the first push asked about %d chunks", n)
	}
	writeFiles(t, src, map[string]string{"d3/new": "x"})
	cp, n := save()
	if n > 1600 { // a block has 256 entries on average, and up to a few times as many
		t.Errorf("the second push asked about %d chunks", n)
	}
	// A peer that lost chunks below blocks that it has is brought them all.
	m := must[*manifest](t)(c.stores[1].loadManifest(cp.ID))
	damageChunk(t, c.stores[1], m.entries[100].extents[0].hash)
	if err := c.stores[1].Verify(t.Context(), cp.ID); err == nil {
		t.Fatal("nothing was damaged")
	}
	must[[]string](t)(c.repls[0].Push(t.Context(), cp.ID))
	if err := c.stores[1].Verify(t.Context(), cp.ID); err != nil {
		t.Error(err)
	}
}

// slowPeer takes a minute for what it is sent and then has all that is asked for.
type slowPeer struct{}

func (slowPeer) RoundTrip(r *http.Request) (*http.Response, error) {
	var takes time.Duration
	if r.Method != http.MethodGet {
		takes = time.Minute
	}
	select {
	case <-time.After(takes):
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// A peer needs its time to take in a million chunks, and a network for their hashes.
func TestPushWaitsLongerForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client{&http.Client{Transport: slowPeer{}}, 10 * time.Second}
		for chunks, want := range map[int]error{1: context.DeadlineExceeded, 1 << 20: nil} {
			cp := &Parcel{Chunks: make([]Hash, chunks), Fetch: func(context.Context, []Hash, func(Hash, []byte) error) error { return nil }}
			if err := c.push(t.Context(), Peer{Name: "p", URL: "http://p"}, cp); !errors.Is(err, want) {
				t.Errorf("%d chunks: %v, want %v", chunks, err, want)
			}
		}
	})
}
