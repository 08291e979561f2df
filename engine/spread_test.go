package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

// TestUnderSpread: a head whose replicas are all in one of several zones is a note.
func TestUnderSpread(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newWatched(t, watchedConfig(t.TempDir()), began)
	defer w.close()
	w.ledger = oneRun(t, began.Add(-time.Hour))
	index := uint64(10)
	apply := func(c migrate.Command) {
		t.Helper()
		b, err := migrate.Encode("", began, c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		if err, refused := w.ledger.Apply(index, b).(error); refused {
			t.Fatal(err)
		}
	}
	head := func(sequence uint64, replicas ...string) {
		t.Helper()
		apply(&migrate.Head{Checkpoint: forestall.Checkpoint{ID: strings.Repeat("a", int(sequence)), Workload: "a", Epoch: 4, Sequence: sequence, Time: began, Replicas: replicas}})
	}
	told := func() bool {
		return slices.ContainsFunc(view{w.Engine}.notes(), func(n string) bool {
			return strings.HasPrefix(n, "under-spread: the newest checkpoint of a counted")
		})
	}
	head(1, "n1")
	if told() {
		t.Error("told where there is one zone")
	}
	apply(&migrate.Join{Name: "n2", Zone: "b"})
	if !told() {
		t.Error("not told")
	}
	if w.cfg.FaultTolerance.GeoDistributed = false; told() {
		t.Error("told although zones do not matter")
	}
	w.cfg.FaultTolerance.GeoDistributed = true
	if head(2, "n1", "n2"); told() {
		t.Error("told of a checkpoint in both zones")
	}
}
