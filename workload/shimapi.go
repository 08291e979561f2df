package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/stratoswarm/forestall"
)

// request is what a supervisor asks of a shim; each path reads what it needs.
type request struct {
	Epoch    forestall.Epoch `json:"epoch"`
	Deadline Deadline        `json:"deadline,omitempty"`
	Final    bool            `json:"final,omitempty"`
	Reason   string          `json:"reason,omitempty"`
}

// reply is what a shim answers.
type reply struct {
	Error    *wireError `json:"error,omitempty"`
	Deadline Deadline   `json:"deadline"`
	Frozen   bool       `json:"frozen"`
	Stopping bool       `json:"stopping"`
}

func (s *shim) handler() http.Handler {
	mux := http.NewServeMux()
	on := func(path string, do func(context.Context, request) error) {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, do) })
	}
	on("/status", func(context.Context, request) error { return nil })
	on("/renew", func(_ context.Context, q request) error { return s.renew(q.Deadline) })
	on("/hook", func(ctx context.Context, q request) error {
		return s.exclusively(ctx, func() error { return s.hook(ctx, q.Final) })
	})
	on("/freeze", func(ctx context.Context, _ request) error {
		return s.exclusively(ctx, func() error { return s.freeze(ctx) })
	})
	on("/thaw", func(ctx context.Context, _ request) error {
		return s.exclusively(ctx, func() error { return s.thaw(ctx) })
	})
	on("/stop", func(_ context.Context, q request) error {
		s.askStop(stop{q.Reason, true})
		return nil
	})
	return mux
}

func (s *shim) answer(w http.ResponseWriter, r *http.Request, do func(context.Context, request) error) {
	var q request
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&q)
	switch {
	case err != nil:
		err = fmt.Errorf("malformed request: %w", err)
	case q.Epoch != s.launch.Epoch:
		err = fmt.Errorf("workload %q: %w: epoch %d; this is epoch %d", s.name(), ErrNotRunning, q.Epoch, s.launch.Epoch)
	default:
		err = do(r.Context(), q)
	}
	s.mu.Lock()
	a := reply{Deadline: s.deadline, Frozen: s.frozen, Stopping: s.stop != nil || s.killed}
	s.mu.Unlock()
	if err != nil {
		a.Error = newWireError(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // the engine is gone: it will ask again
}

// exclusively runs one hook, freeze or thaw at a time.
func (s *shim) exclusively(ctx context.Context, do func() error) error {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
		return do()
	case <-ctx.Done():
		return fmt.Errorf("workload %q: an earlier hook or freeze is not done: %w", s.name(), ctx.Err())
	}
}
