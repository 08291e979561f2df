package engine

import (
	"context"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

// TestReplicaBehindIsNotActedOn: after its start an engine's replica of the ledger
// shows what is long over. Until the leader has said how far the log is, nothing is
// missed, stopped, thawed or declared for it.
func TestReplicaBehindIsNotActedOn(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newWatched(t, watchedConfig(t.TempDir()), began)
	defer w.close()
	w.ledger = oneRun(t, began.Add(-time.Hour))
	if err := w.supervisor.Adopt(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nobody leads here: it would wait for ever
	if err := w.join(ctx); err != nil {
		t.Error(err)
	}
	if w.current.Load() {
		t.Error("it calls its replica current")
	}
	if missed := w.outbox.pending(); len(missed) > 0 {
		t.Errorf("missed by a replica that nobody has called current: %+v", missed)
	}
	if floor := w.supervisor.Floor("a"); floor != 0 {
		t.Errorf("epochs up to %d were forbidden by it", floor)
	}
}

// oneRun returns a ledger in which agent a runs on n1 in epoch 4 since a time.
func oneRun(t *testing.T, at time.Time) *migrate.Ledger {
	t.Helper()
	job := forestall.Workload{Name: "a", Kind: forestall.KindAgent, Command: []string{"a"}, StateDir: "/state/a", Hook: forestall.Hook{Kind: forestall.HookNone}}
	start := forestall.Decision{ID: "s", Action: forestall.ActionStart, Mode: forestall.Act, Time: at, Component: job.Component(), Workload: "a"}
	l := migrate.NewLedger()
	for i, c := range []migrate.Command{
		&migrate.Join{Name: "n1"},
		&migrate.Declare{Workload: job},
		&migrate.Propose{Decision: start},
		&migrate.Grant{Migration: "s", Node: "n1"},
		&migrate.Fenced{Migration: "s", Epoch: 4, Acks: []string{"n1"}},
		&migrate.Done{Migration: "s", Epoch: 4},
	} {
		b, err := migrate.Encode("", at, c)
		if err != nil {
			t.Fatal(err)
		}
		if err, refused := l.Apply(uint64(i+1), b).(error); refused {
			t.Fatal(err)
		}
	}
	return l
}
