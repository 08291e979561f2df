package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stratoswarm/forestall"
)

// lie is how a peer answers instead of with the truth; false: as it should.
type lie func(w http.ResponseWriter, r *http.Request) bool

// on is a lie about requests of a method whose path has a part.
func on(method, part string, answer func(w http.ResponseWriter)) lie {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w)
		return true
	}
}

func either(lies ...lie) lie {
	return func(w http.ResponseWriter, r *http.Request) bool {
		for _, l := range lies {
			if l(w, r) {
				return true
			}
		}
		return false
	}
}

func status(code int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { w.WriteHeader(code) }
}

func says(body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { _, _ = io.WriteString(w, body) }
}

// TestPushToALiar: a peer that says to hold what it does not hold is no replica.
func TestPushToALiar(t *testing.T) {
	t.Parallel()
	const (
		missing, chunks, manifests = "/v1/missing", "/v1/chunks/", "/v1/manifests/"
	)
	takes, hasAll := on("PUT", manifests, says("{}")), on("POST", missing, says(""))
	for _, c := range []struct {
		name string
		lie  lie
		want string
		bad  float64
	}{
		{"has every chunk", either(hasAll, takes), "not found", 1},
		{"has every chunk, and keeps the manifest", either(hasAll, keepsManifests()), "no chunk", 1},
		{"drops what it is sent", either(on("PUT", chunks, status(http.StatusNoContent)), keepsManifests()), "no chunk", 1},
		{"drops the manifest", takes, "not found", 1},
		{"gives other chunks", on("GET", chunks, says(strings.Repeat("FCHK", 9))), "it says to hold", 1},
		{"gives another manifest", on("GET", manifests, says("FMAN")), "another manifest", 1},
		{"lacks what it was not asked about", on("POST", missing, says(strings.Repeat("x", 32))), "was not asked", 1},
		{"lacks the same for ever", func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, missing) {
				return false
			}
			b, _ := io.ReadAll(r.Body)
			for range 1000 {
				_, _ = w.Write(b[:32])
			}
			return true
		}, "was not asked", 1},
		{"answers half a hash", on("POST", missing, says("half")), "32-byte", 1},
		{"sends elsewhere", func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://"+r.Host+"/elsewhere", http.StatusTemporaryRedirect)
			return true
		}, "307", 0},
		{"refuses at length", on("POST", missing, func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"missing_chunks","error":"`+strings.Repeat("long ", 10000)+`"}`)
		}), "long", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewRegistry()
			m := must[*Metrics](t)(NewMetrics(reg, time.Now))
			cl := newCluster(t, 2, func(cfg *ReplicatorConfig) {
				if cfg.Self.Name == "n1" {
					cfg.Metrics = m
				}
			})
			cl.instead(func(node string, w http.ResponseWriter, r *http.Request) bool { return node == "n2" && c.lie(w, r) })
			cp, _ := cl.save(t, 1)
			replicas, err := cl.repls[0].Push(t.Context(), cp.ID)
			if !errors.Is(err, ErrUnderReplicated) || len(replicas) != 1 {
				t.Fatalf("replicas %v, error %v; want ErrUnderReplicated", replicas, err)
			}
			if !strings.Contains(err.Error(), "n2: ") || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 4000 {
				t.Errorf("error %.5000v, want n2 and %q", err, c.want)
			}
			if n := gathered(t, reg, "fault_tolerance_checkpoint_bad_replies_total", "n2"); n != c.bad {
				t.Errorf("%v bad replies of n2 counted, want %v", n, c.bad)
			}
			if doubts := cl.repls[0].Doubts(); len(doubts) != int(c.bad) || c.bad > 0 && (doubts[0].Peer != "n2" || !strings.Contains(doubts[0].Why, c.want)) {
				t.Errorf("doubts %+v", doubts)
			}
			// Once it tells the truth it is made a replica.
			cl.instead(nil)
			if replicas, err = cl.repls[0].Push(t.Context(), cp.ID); err != nil || len(replicas) != 2 {
				t.Fatalf("afterwards: replicas %v, error %v", replicas, err)
			}
			if err := cl.stores[1].Verify(t.Context(), cp.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

// keepsManifests is a peer that takes every manifest and gives it back.
func keepsManifests() lie {
	var kept sync.Map
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/v1/manifests/") {
			return false
		}
		if r.Method == http.MethodPut {
			b, _ := io.ReadAll(r.Body)
			kept.Store(r.URL.Path, b)
			_, _ = io.WriteString(w, "{}")
			return true
		}
		b, ok := kept.Load(r.URL.Path)
		if ok {
			_, _ = w.Write(b.([]byte))
		}
		return ok
	}
}

// TestFetchFromALiar: whatever the first peer answers, the checkpoint comes from
// the next, and the first is named.
func TestFetchFromALiar(t *testing.T) {
	t.Parallel()
	const chunks, manifests = "/v1/chunks/", "/v1/manifests/"
	refuses := func(code string, status int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { refuseAs(w, code, status) }
	}
	for _, c := range []struct {
		name string
		lie  lie
		bad  float64
	}{
		{"wrong bytes", on("GET", chunks, says(strings.Repeat("FCHK", 99))), 1},
		{"nothing", on("GET", chunks, says("")), 1},
		{"cut off", on("GET", chunks, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "4000")
			_, _ = io.WriteString(w, "FCHK")
			panic(http.ErrAbortHandler)
		}), 0},
		{"without end", on("GET", chunks, func(w http.ResponseWriter) {
			for part := make([]byte, 1<<20); ; {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
		}), 0},
		{"another manifest", on("GET", manifests, says("FMAN")), 1},
		{"has no room", on("GET", chunks, refuses("disk_full", http.StatusInsufficientStorage)), 0},
		{"has other keys", on("GET", chunks, refuses("wrong_key", http.StatusFailedDependency)), 0},
		{"has nothing", on("GET", manifests, refuses("not_found", http.StatusNotFound)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := newCluster(t, 3, func(cfg *ReplicatorConfig) { cfg.Consistency = ConsistencyAll })
			cp, want := cl.save(t, 1)
			must[[]string](t)(cl.repls[0].Push(t.Context(), cp.ID))
			reg := cl.fresh(t)
			cl.instead(func(node string, w http.ResponseWriter, r *http.Request) bool { return node == "n2" && c.lie(w, r) })
			if err := cl.repls[3].Fetch(t.Context(), cp.ID, []string{"n2"}); err != nil {
				t.Fatal(err)
			}
			target := filepath.Join(t.TempDir(), "t")
			if err := cl.stores[3].Restore(t.Context(), cp.ID, target); err != nil {
				t.Fatal(err)
			}
			sameTree(t, want, readTree(t, target))
			if n := gathered(t, reg, "fault_tolerance_checkpoint_bad_replies_total", "n2"); n != c.bad {
				t.Errorf("%v bad replies of n2 counted, want %v", n, c.bad)
			}
		})
	}
}

func refuseAs(w http.ResponseWriter, code string, status int) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal{Code: code, Error: "so it says"})
}

// TestFetchFromDamagedPeers: peers that have each lost another part give a whole
// checkpoint together.
func TestFetchFromDamagedPeers(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, 3, func(cfg *ReplicatorConfig) { cfg.Consistency = ConsistencyAll })
	src := t.TempDir()
	for i := range 50 {
		writeFiles(t, src, map[string]string{fmt.Sprintf("f%02d", i): fmt.Sprint("content ", i)})
	}
	cp := must[forestall.Checkpoint](t)(cl.stores[0].Save(t.Context(), Snapshot{Workload: "w", Source: src}))
	must[[]string](t)(cl.repls[0].Push(t.Context(), cp.ID))
	hashes := must[*manifest](t)(cl.stores[0].loadManifest(cp.ID)).hashes()
	lost := make(map[string]string)
	for i, p := range cl.peers { // each fails beyond where the one before it has failed
		lost[p.Name] = hashes[len(hashes)*(i+2)/5].String()
	}
	cl.instead(func(node string, w http.ResponseWriter, r *http.Request) bool {
		gone := strings.HasSuffix(r.URL.Path, lost[node])
		if gone {
			refuseAs(w, "corrupt", http.StatusUnprocessableEntity)
		}
		return gone
	})
	cl.fresh(t)
	if err := cl.repls[3].Fetch(t.Context(), cp.ID, nil); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "t")
	if err := cl.stores[3].Restore(t.Context(), cp.ID, target); err != nil {
		t.Fatal(err)
	}
	sameTree(t, readTree(t, src), readTree(t, target))
}

// inProcess serves peers in this process, each as its host says, some slowly.
type inProcess struct {
	stores map[string]http.Handler
	slow   map[string]time.Duration // for each chunk
}

func (w inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/chunks/") {
		select {
		case <-time.After(w.slow[r.URL.Host]):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	to := httptest.NewRecorder()
	w.stores[r.URL.Host].ServeHTTP(to, r)
	return to.Result(), nil
}

// TestFetchLeavesASlowPeer: one that gives a chunk every nine seconds is left while
// there are others, and asked to the end when it is the last that has the checkpoint.
func TestFetchLeavesASlowPeer(t *testing.T) {
	dir, src := t.TempDir(), state(t)
	synctest.Test(t, func(t *testing.T) {
		open := func(name string) *Dir { return must[*Dir](t)(OpenDir(filepath.Join(dir, name), small())) }
		from := open("from")
		defer closeDir(t, from)
		cp := must[forestall.Checkpoint](t)(from.Save(t.Context(), Snapshot{Workload: "w", Source: src}))
		net := inProcess{map[string]http.Handler{"slow": Handler(from), "quick": Handler(from)}, map[string]time.Duration{"slow": 9 * time.Second}}
		peers := []Peer{{Name: "slow", URL: "http://slow"}, {Name: "quick", URL: "http://quick"}}
		for _, c := range []struct {
			peers []Peer
			least time.Duration
			most  time.Duration
		}{
			{peers, 9 * time.Second, 30 * time.Second},
			{peers[:1], 30 * time.Second, 10 * time.Minute},
			{[]Peer{peers[0], {Name: "none", URL: "http://none"}}, 30 * time.Second, 10 * time.Minute},
		} {
			to := open(fmt.Sprint("to", c))
			net.stores["none"] = http.NotFoundHandler()
			cfg := DefaultReplicatorConfig()
			cfg.Self, cfg.ClusterSize, cfg.Client = Peer{Name: "self"}, func() int { return 3 }, &http.Client{Transport: net}
			r := must[*Replicator](t)(NewReplicator(to, cfg, func() []Peer { return c.peers }))
			began := time.Now()
			err := r.Fetch(t.Context(), cp.ID, nil)
			if took := time.Since(began); err != nil || took < c.least || took > c.most {
				t.Errorf("%v: took %v, error %v", c.peers, took, err)
			}
			closeDir(t, to)
		}
	})
}

// TestMadeUpFence: a peer that says to be fenced at an epoch that nobody was ever
// granted neither stops the workload's checkpoints nor its starts; one that is fenced
// does, and so does one of which it is not known.
func TestMadeUpFence(t *testing.T) {
	t.Parallel()
	refuses := on("PUT", "/v1/", func(w http.ResponseWriter) { refuseAs(w, "stale_epoch", http.StatusConflict) })
	fenced := func(at string) lie { return on("GET", "/v1/fences/", says(`{"epoch":`+at+`}`)) }
	for _, c := range []struct {
		name  string
		lie   lie
		known error // of what was granted
		stale bool
	}{
		{"above all grants", either(fenced("18446744073709551615"), refuses), nil, false},
		{"below what it refuses", either(fenced("1"), refuses), nil, false},
		{"at a grant", either(fenced("9"), refuses), nil, true},
		{"nobody knows", either(fenced("99"), refuses), errors.New("no leader"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := newCluster(t, 3, func(cfg *ReplicatorConfig) {
				cfg.Granted = func(_ context.Context, workload string, e forestall.Epoch) (bool, error) {
					return workload == "w" && e <= 9, c.known
				}
			})
			cp, _ := cl.save(t, 3)
			cl.instead(func(node string, w http.ResponseWriter, r *http.Request) bool { return node == "n2" && c.lie(w, r) })
			want := map[bool]error{true: forestall.ErrStaleEpoch}[c.stale]
			replicas, err := cl.repls[0].Push(t.Context(), cp.ID)
			if !errors.Is(err, want) || (err == nil) != (want == nil) || slices.Contains(replicas, "n2") {
				t.Errorf("push: replicas %v, error %v; want %v", replicas, err, want)
			}
			cl.broken[2].Store(c.stale) // or a majority is there before n2 answers
			acks, err := cl.repls[0].Fence(t.Context(), "w", 3)
			if !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("fence: acks %v, error %v; want %v", acks, err, want)
			}
			if e, err := cl.repls[0].Fenced(t.Context(), "w"); err != nil || !c.stale && e != 3 {
				t.Errorf("fenced at %v, error %v", e, err)
			}
			if !c.stale {
				await(t, "n2 is doubted", func() bool { d := cl.repls[0].Doubts(); return len(d) == 1 && d[0].Peer == "n2" })
			} else if d := cl.repls[0].Doubts(); len(d) != 0 {
				t.Errorf("doubts %+v", d)
			}
		})
	}
}
