package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// whoLeads is a node's view of who leads.
type whoLeads struct {
	mu      sync.Mutex
	id      string
	changed chan struct{}
}

func (w *whoLeads) leader() (id, address string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.id, "", w.id != ""
}

func (w *whoLeads) change() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *whoLeads) becomes(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.id, w.changed = id, make(chan struct{})
}

// TestSilentLeaderIsLeftForTheNext: a question to a leader that is cut off is given up
// as soon as another leads, not when a third of the lease is over.
func TestSilentLeaderIsLeftForTheNext(t *testing.T) {
	for _, begins := range []string{"n1", ""} { // "": it is elected just before the question is sent
		synctest.Test(t, func(t *testing.T) {
			leads := &whoLeads{id: begins, changed: make(chan struct{})}
			ctx, cancel := whileLeads(t.Context(), leads.leader, leads.change)
			defer cancel()
			time.Sleep(time.Minute)
			leads.becomes("n1")
			synctest.Wait()
			if ctx.Err() != nil {
				t.Error("given up though n1 leads")
			}
			leads.becomes("")
			synctest.Wait()
			if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), errNoLeader) {
				t.Errorf("n1 leads no more and is still asked: %v", context.Cause(ctx))
			}
		})
	}
}
