package engine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall/api"
)

// TestCheckpointOfASilentNode: who asks for a checkpoint of a workload whose node
// is down learns which node that is and what to do.
func TestCheckpointOfASilentNode(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := watchedConfig(t.TempDir())
	c.Engine.Name = "n2"
	w := newWatched(t, c, began)
	defer w.close()
	w.ledger = oneRun(t, began)
	w.nodes = []member{{name: "n1", host: "127.0.0.1", port: 1}}
	_, err := keeper{w.Engine}.CreateCheckpoint(t.Context(), "a", api.CheckpointRequest{})
	if !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "node n1, which runs a, does not answer") ||
		!strings.Contains(err.Error(), "start its engine") || strings.Contains(err.Error(), "http://") {
		t.Error(err)
	}
}
