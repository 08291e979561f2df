package engine

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/checkpoint"
)

// TestDoubtIsTold: for a day status says which node answers wrongly about
// checkpoints.
func TestDoubtIsTold(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newWatched(t, watchedConfig(t.TempDir()), began)
	defer w.close()
	liar := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("FMAN")) }))
	defer liar.Close()
	rc := checkpoint.DefaultReplicatorConfig()
	rc.Self, rc.ClusterSize, rc.Client, rc.Now = checkpoint.Peer{Name: "n1"}, func() int { return 2 }, liar.Client(), func() time.Time { return w.now }
	var err error
	if w.replicas, err = checkpoint.NewReplicator(w.chunks, rc, func() []checkpoint.Peer { return []checkpoint.Peer{{Name: "n2", URL: liar.URL}} }); err != nil {
		t.Fatal(err)
	}
	if err := w.replicas.Fetch(t.Context(), strings.Repeat("ab", 32), nil); !errors.Is(err, checkpoint.ErrCorrupt) {
		t.Fatalf("fetch: %v, want ErrCorrupt", err)
	}
	told := func() bool {
		return slices.ContainsFunc(view{w.Engine}.notes(), func(n string) bool {
			return strings.HasPrefix(n, "node n2 gave wrong answers about checkpoints, 1 since this engine started")
		})
	}
	if w.now = began.Add(time.Hour); !told() {
		t.Error("not told")
	}
	if w.now = began.Add(25 * time.Hour); told() {
		t.Error("told a day later")
	}
}
