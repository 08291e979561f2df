package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

// RequestFile is where a signal hook finds what is asked, in the state
// directory: an ID without spaces, a space, "checkpoint" or "final", a newline.
// The workload acknowledges by writing the ID to its ack_file.
const RequestFile = ".forestall-request"

// DeadlineFile is where a signal hook finds by when it must have acknowledged,
// in the state directory: a time as in RFC 3339, in UTC, and a newline.
const DeadlineFile = ".forestall-deadline"

// HookRequest is the JSON body of an http hook.
type HookRequest struct {
	ID       string          `json:"id"` // unique; a repeat is a new request
	Workload string          `json:"workload"`
	Epoch    forestall.Epoch `json:"epoch"`
	Reason   string          `json:"reason"` // "checkpoint" or "final"
	Final    bool            `json:"final"`  // do no more work; withdrawn by a later request that is not
	// Deadline is by when it must be acknowledged, by this node's clock: whoever
	// cannot make it keeps its last good state.
	Deadline time.Time `json:"deadline"`
}

// hook makes the workload write its state down and returns once it has
// acknowledged that.
func (s *shim) hook(ctx context.Context, final bool) error {
	h := s.launch.Workload.Hook
	s.mu.Lock()
	reaped, frozen := s.reaped, s.frozen
	if final && h.Kind != forestall.HookNone {
		s.final = true // from here on the workload may have heard it
	}
	s.mu.Unlock()
	if reaped {
		return s.endedError()
	}
	if frozen {
		return fmt.Errorf("workload %q: %w: thaw it before its hook is run", s.name(), ErrFrozen)
	}
	if h.Kind == forestall.HookNone {
		return nil
	}
	s.hooks++
	q := HookRequest{
		ID:       fmt.Sprintf("%d-%d", s.launch.Epoch, s.hooks),
		Workload: s.name(), Epoch: s.launch.Epoch, Reason: "checkpoint", Final: final,
	}
	if final {
		q.Reason = "final"
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	if by, ok := ctx.Deadline(); ok { // the hook's own timeout, or the caller's if that is sooner
		q.Deadline = by.UTC().Truncate(time.Millisecond)
	}
	stopWatching := s.cancelOnExit(cancel)
	defer stopWatching()
	err := s.runHook(ctx, h, q)
	if err = s.explainHook(ctx, h, err); err == nil && !final {
		s.mu.Lock()
		s.final = false
		s.mu.Unlock()
	}
	return err
}

func (s *shim) runHook(ctx context.Context, h forestall.Hook, q HookRequest) error {
	switch h.Kind {
	case forestall.HookSignal:
		return s.signalHook(ctx, h, q)
	case forestall.HookHTTP:
		return s.httpHook(ctx, h, q)
	case forestall.HookCommand:
		return s.commandHook(ctx, h, q)
	}
	return fmt.Errorf("hook kind %q is not one of none, signal, http, command", h.Kind)
}

// cancelOnExit ends a hook when the workload ends; the returned function stops
// watching for that.
func (s *shim) cancelOnExit(cancel func()) (stop func()) {
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.ended:
			cancel()
		case <-over:
		}
	}()
	return func() { close(over); <-watched }
}

// endPatience is the time between a workload's last sign in a hook, such as a
// connection that breaks, and the news of its end.
const endPatience = 100 * time.Millisecond

// explainHook puts the workload's end and the timeout before what they caused.
func (s *shim) explainHook(ctx context.Context, h forestall.Hook, err error) error {
	if err != nil && ctx.Err() == nil {
		select {
		case <-s.ended:
		case <-time.After(endPatience):
		}
	}
	select {
	case <-s.ended:
		s.mu.Lock()
		defer s.mu.Unlock()
		return fmt.Errorf("workload %q: %w during its %s hook (%s)", s.name(), ErrExited, h.Kind, describe(s.status))
	default:
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("workload %q: its %s hook did not acknowledge within %v: %w", s.name(), h.Kind, h.Timeout, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("workload %q: its %s hook did not acknowledge within %v", s.name(), h.Kind, h.Timeout)
	}
	return fmt.Errorf("workload %q: %s hook: %w", s.name(), h.Kind, err)
}

// signalHook writes the request, sends the signal and waits for its ID in the
// acknowledgement file.
func (s *shim) signalHook(ctx context.Context, h forestall.Hook, q HookRequest) error {
	dir := s.launch.Workload.StateDir
	sig, err := parseSignal(h.Signal)
	if err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	if err := s.awaitHandler(ctx, sig, tick.C); err != nil {
		return err
	}
	if err := writeDurable(filepath.Join(dir, DeadlineFile), []byte(q.Deadline.Format(time.RFC3339Nano)+"\n")); err != nil {
		return fmt.Errorf("write the deadline: %w", err)
	}
	if err := writeDurable(filepath.Join(dir, RequestFile), []byte(q.ID+" "+q.Reason+"\n")); err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	s.mu.Lock()
	if !s.reaped {
		err = unix.Kill(s.record.Main.PID, sig)
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("send %s: %w", h.Signal, err)
	}
	for {
		if ack, err := os.ReadFile(filepath.Join(dir, h.AckFile)); err == nil && strings.TrimSpace(string(ack)) == q.ID {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitHandler waits until the first process handles the signal: one that has
// just started may not yet, and would die of it.
func (s *shim) awaitHandler(ctx context.Context, sig unix.Signal, tick <-chan time.Time) error {
	for {
		ok, err := handles(s.record.Main.PID, sig)
		if ok || err != nil {
			return err
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return fmt.Errorf("its first process has no handler for %s", unix.SignalName(sig))
		}
	}
}

// httpHook posts the request to the workload; any 2xx acknowledges it.
func (s *shim) httpHook(ctx context.Context, h forestall.Hook, q HookRequest) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	url, transport := h.URL, &http.Transport{DisableKeepAlives: true}
	if path, ok := strings.CutPrefix(h.URL, "unix:"); ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.launch.Workload.StateDir, path)
		}
		url = "http://workload/"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialUnix(ctx, path) }
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	post.Header.Set("Content-Type", "application/json")
	answer, err := transport.RoundTrip(post)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s: %s", answer.Status, strings.TrimSpace(string(said)))
	}
	return nil
}

// commandHook runs the hook's command in the state directory; status 0
// acknowledges.
func (s *shim) commandHook(ctx context.Context, h forestall.Hook, q HookRequest) error {
	dir := s.launch.Workload.StateDir
	final := "0"
	if q.Final {
		final = "1"
	}
	env := lastWins(append(s.env[:len(s.env):len(s.env)], "FORESTALL_FINAL="+final, "FORESTALL_PID="+fmt.Sprint(s.record.Main.PID),
		"FORESTALL_DEADLINE="+q.Deadline.Format(time.RFC3339Nano)))
	path, err := lookCommand(h.Command[0], dir, env)
	if err != nil {
		return err
	}
	lockFD := s.lock.f.Fd()
	f := fork{path: path, argv: h.Command, reply: make(chan forked, 1), attr: &syscall.ProcAttr{
		Dir: dir, Env: env,
		Files: []uintptr{lockFD, s.output.Fd(), s.output.Fd(), lockFD},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}}
	select {
	case s.forks <- f:
	case <-ctx.Done():
		return ctx.Err()
	}
	child := <-f.reply
	if child.err != nil {
		return fmt.Errorf("start %s: %w", path, child.err)
	}
	select {
	case status := <-child.ended:
		if status != 0 {
			return fmt.Errorf("command %q ended with %s; its output is in the workload's %s", h.Command[0], describe(status), outputLog)
		}
		return nil
	case <-ctx.Done():
		s.killGroup(child)
		return ctx.Err()
	}
}

// killGroup ends a hook's command that took too long, and what it started.
func (s *shim) killGroup(child forked) {
	s.mu.Lock() // nothing is reaped meanwhile, so the ID is the child's or its wait is over
	defer s.mu.Unlock()
	select {
	case <-child.ended:
	default:
		_ = unix.Kill(-child.pid, unix.SIGKILL)
	}
}
