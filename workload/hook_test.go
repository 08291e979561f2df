package workload

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// deadlineField finds the moment in the body of an http hook.
var deadlineField = regexp.MustCompile(`"deadline":"([^"]*)"`)

func TestHooks(t *testing.T) {
	const quick = 100 * time.Millisecond
	tests := []struct {
		name    string
		command []string
		hook    forestall.Hook
		up      string // in the state directory once the workload is ready
		want    string // error; empty: none
		is      error
		asked   string // then written by the workload to "asked"
	}{
		{name: "none", command: []string{"/bin/sleep", "60"}, hook: forestall.Hook{Kind: forestall.HookNone}},
		{
			name: "signal", command: job("signal"), up: "up", asked: "final",
			hook: forestall.Hook{Kind: forestall.HookSignal, Signal: "SIGUSR1", AckFile: "ack", Timeout: long},
		},
		{
			name: "signal in shell", up: "up", asked: "final",
			command: sh(`trap 'read id what < .forestall-request; read by < .forestall-deadline; test $(date +%s) -lt $(date -d $by +%s) && printf $what > asked; echo $id > ack' USR1; echo > up; while :; do sleep 0.01; done`),
			hook:    forestall.Hook{Kind: forestall.HookSignal, Signal: "usr1", AckFile: "ack", Timeout: long},
		},
		{
			name: "signal not acknowledged", command: sh("trap : USR1; echo > up; while :; do sleep 0.01; done"), up: "up", want: "did not acknowledge within 100ms",
			hook: forestall.Hook{Kind: forestall.HookSignal, Signal: "SIGUSR1", AckFile: "ack", Timeout: quick},
		},
		{
			name: "signal not handled", command: []string{"/bin/sleep", "60"}, want: "did not acknowledge within 100ms: its first process has no handler for SIGUSR1",
			hook: forestall.Hook{Kind: forestall.HookSignal, Signal: "SIGUSR1", AckFile: "ack", Timeout: quick},
		},
		{
			name: "signal kills", command: sh("trap 'exit 5' USR1; while :; do sleep 0.01; done"), want: "exited during its signal hook (status 5)", is: ErrExited,
			hook: forestall.Hook{Kind: forestall.HookSignal, Signal: "SIGUSR1", AckFile: "ack", Timeout: long},
		},
		{
			name: "http", command: job("http", "ok"), up: "up", asked: `{"id":"6-1","workload":"train","epoch":6,"reason":"final","final":true,"deadline":"soon"}` + "\n",
			hook: forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: long},
		},
		{
			name: "http refused", command: job("http", "refuse"), up: "up", want: "answered 507 Insufficient Storage: disk full",
			hook: forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: long},
		},
		{
			name: "http not answered", command: job("http", "hang"), up: "up", want: "did not acknowledge within 100ms",
			hook: forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: quick},
		},
		{
			name: "http not served", command: []string{"/bin/sleep", "60"}, want: "hook.sock: connect: no such file",
			hook: forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: long},
		},
		{
			name: "http dies", command: job("http", "die"), up: "up", want: "exited during its http hook (status 7)", is: ErrExited,
			hook: forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: long},
		},
		{
			name: "command", command: []string{"/bin/sleep", "60"}, asked: "final 1 of 6 in time\n",
			hook: forestall.Hook{Kind: forestall.HookCommand, Command: sh("kill -0 $FORESTALL_PID && test $(date +%s) -lt $(date -d $FORESTALL_DEADLINE +%s) && echo final $FORESTALL_FINAL of $FORESTALL_EPOCH in time > asked"), Timeout: long},
		},
		{
			name: "command fails", command: []string{"/bin/sleep", "60"}, want: `command "/bin/sh" ended with status 9`,
			hook: forestall.Hook{Kind: forestall.HookCommand, Command: sh("exit 9"), Timeout: long},
		},
		{
			name: "command hangs", command: []string{"/bin/sleep", "60"}, want: "did not acknowledge within 100ms",
			hook: forestall.Hook{Kind: forestall.HookCommand, Command: sh("sleep 60 & wait"), Timeout: quick},
		},
		{
			name: "command not found", command: []string{"/bin/sleep", "60"}, want: `"no-such-hook": not found in PATH`,
			hook: forestall.Hook{Kind: forestall.HookCommand, Command: []string{"no-such-hook"}, Timeout: long},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			l := n.launch(6, tt.command...)
			l.Workload.Hook = tt.hook
			n.start(l)
			if tt.up != "" {
				await(t, "the workload", func() bool { return exists(filepath.Join(n.state, tt.up)) })
			}
			err := n.Hook(context.Background(), "train", 6, true)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("hook: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("hook: %v, want %q", err, tt.want)
			case tt.is != nil && !errors.Is(err, tt.is):
				t.Errorf("hook: %v is not %v", err, tt.is)
			}
			if tt.asked != "" {
				got := read(t, filepath.Join(n.state, "asked"))
				if m := deadlineField.FindStringSubmatch(got); m != nil {
					by, err := time.Parse(time.RFC3339, m[1])
					if left := time.Until(by); err != nil || left <= 0 || left > tt.hook.Timeout {
						t.Errorf("deadline %s, %v: want one within %v", m[1], err, tt.hook.Timeout)
					}
					got = strings.Replace(got, m[1], "soon", 1)
				}
				if got != tt.asked {
					t.Errorf("the workload was asked %q, want %q", got, tt.asked)
				}
			}
		})
	}
}

func TestHookOfAnotherEpoch(t *testing.T) {
	n := newNode(t)
	n.start(n.launch(6, "/bin/sleep", "60"))
	if err := n.Hook(context.Background(), "train", 5, false); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("an older epoch: %v", err)
	}
	if err := n.Hook(context.Background(), "train", 7, false); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a later epoch: %v", err)
	}
	if err := n.Hook(context.Background(), "other", 6, false); !errors.Is(err, ErrNotRunning) {
		t.Errorf("another workload: %v", err)
	}
}

func TestFreezeAndThaw(t *testing.T) {
	ctx := context.Background()
	n := newNode(t)
	dir := t.TempDir()
	l := n.launch(1, job("tree", "2", dir)...)
	l.Workload.Stop = long
	l.Workload.Hook = forestall.Hook{Kind: forestall.HookCommand, Command: sh("printf $FORESTALL_FINAL >> asked"), Timeout: long}
	n.start(l)
	await(t, "the tree", func() bool { return len(tree(t, dir)) == 13 })

	if err := n.Thaw(ctx, "train", 1); err != nil {
		t.Errorf("thaw of what isn't frozen: %v", err)
	}
	if err := n.Hook(ctx, "train", 1, true); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 2 {
		if err := n.Freeze(ctx, "train", 1); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("13 processes frozen in %v", time.Since(begin))
	for _, pid := range tree(t, dir) {
		if p, err := readProcess(pid); err != nil || !p.stopped() {
			t.Errorf("process %d is in state %c after Freeze, %v", pid, p.state, err)
		}
	}
	if err := n.Hook(ctx, "train", 1, false); !errors.Is(err, ErrFrozen) {
		t.Errorf("hook of a frozen workload: %v", err)
	}
	if err := n.Thaw(ctx, "train", 1); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(n.state, "asked")); got != "10" {
		t.Errorf("hooks were final %q, want 1 and, after the thaw, 0", got)
	}
	for _, pid := range tree(t, dir) {
		await(t, "the processes to go on", func() bool { p, err := readProcess(pid); return err == nil && !p.stopped() })
	}

	if err := n.Freeze(ctx, "train", 1); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	if _, err := n.Stop(ctx, "train", 1, "moved"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > l.Workload.Stop {
		t.Errorf("stopping a frozen workload took %v: it was not killed at once", took)
	}
	for _, pid := range tree(t, dir) {
		if !gone(pid) {
			t.Errorf("process %d is alive after Stop", pid)
		}
	}
}
