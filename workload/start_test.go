package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/stratoswarm/forestall"
)

func TestExitsAreReportedOnce(t *testing.T) {
	tests := []struct {
		name   string
		script string
		want   forestall.Exit
	}{
		{"success", "exit 0", forestall.Exit{Epoch: 3}},
		{"status", "exit 7", forestall.Exit{Epoch: 3, Code: 7}},
		{"signal", "kill -SEGV $$", forestall.Exit{Epoch: 3, Code: -1, Signal: syscall.SIGSEGV}},
		{"with a descendant left", "sleep 60 & exit 4", forestall.Exit{Epoch: 3, Code: 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			st := n.launch(3, sh(tt.script)...)
			if err := n.Start(context.Background(), st); err != nil {
				t.Fatal(err)
			}
			got := n.exit()
			if diff := cmp.Diff(Exited{"train", tt.want}, got, cmpopts.IgnoreFields(forestall.Exit{}, "Time")); diff != "" {
				t.Errorf("exit (-want +got):\n%s", diff)
			}
			if age := time.Since(got.Time); age < 0 || age > long {
				t.Errorf("ended %v ago", age)
			}

			n.restart() // nobody acknowledged it
			if again := n.exit(); again.Epoch != 3 {
				t.Errorf("after a restart: %+v", again)
			}
			if err := n.Acknowledge("train", 3); err != nil {
				t.Fatal(err)
			}
			n.restart()
			n.noExit()
		})
	}
}

// The log names a signal only where one ended the workload.
func TestLogOfAnEnd(t *testing.T) {
	for want, command := range map[string]string{"code=3 expected=false": "exit 3", "code=-1 signal=killed expected=false": "kill -KILL $$"} {
		n := newNode(t)
		var said bytes.Buffer
		n.log = slog.New(slog.NewTextHandler(&said, nil))
		n.restart()
		n.start(n.launch(1, "/bin/sh", "-c", command))
		n.exit()
		n.stop()
		if !strings.Contains(said.String(), "msg=\"workload ended\" workload=train epoch=1 "+want) {
			t.Errorf("%q: no %q in %s", command, want, said.String())
		}
		n.boot()
	}
}

func TestEnvironmentOfAWorkload(t *testing.T) {
	n := newNode(t)
	l := n.launch(12, sh("pwd > env.tmp; env >> env.tmp; mv env.tmp env; cat; sleep 60")...)
	l.GPUs = []int{0, 3}
	l.HeartbeatURL = "http://127.0.0.1:1/beat"
	l.Workload.Env = []string{"MODE=fast", "CUDA_VISIBLE_DEVICES=9"}
	st := n.start(l)
	await(t, "the environment", func() bool { return exists(filepath.Join(n.state, "env")) })
	b, err := os.ReadFile(filepath.Join(n.state, "env"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for _, want := range []string{
		n.state, "FORESTALL_WORKLOAD=train", "FORESTALL_EPOCH=12", "FORESTALL_STATE_DIR=" + n.state, "FORESTALL_NODE=n1",
		"FORESTALL_GPUS=0,3", "CUDA_VISIBLE_DEVICES=0,3", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "FORESTALL_HEARTBEAT_URL=http://127.0.0.1:1/beat", "MODE=fast",
	} {
		if !contains(lines, want) {
			t.Errorf("environment lacks %q:\n%s", want, b)
		}
	}
	if st.PID == 0 || st.ShimPID == 0 || st.Started.IsZero() || st.Deadline != NoDeadline || cmp.Diff([]int{0, 3}, st.GPUs) != "" {
		t.Errorf("status %+v", st)
	}
}

func contains(lines []string, want string) bool {
	for _, l := range lines {
		if l == want {
			return true
		}
	}
	return false
}

func TestRefusedStarts(t *testing.T) {
	n := newNode(t)
	n.start(n.launch(5, "/bin/sleep", "60"))

	err := n.Start(context.Background(), n.launch(5, "/bin/sleep", "60"))
	if err != nil {
		t.Errorf("the same epoch again: %v", err)
	}
	if err = n.Start(context.Background(), n.launch(4, "/bin/sleep", "60")); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("a lower epoch than the running one: %v", err)
	}
	if err = n.Start(context.Background(), n.launch(6, "/bin/sleep", "60")); !errors.Is(err, ErrRunning) {
		t.Errorf("a higher epoch beside the running one: %v", err)
	}
	if err = n.RaiseFloor("train", 8); err != nil {
		t.Fatal(err)
	}
	if len(n.List()) != 1 {
		t.Errorf("raising the floor stopped something: %+v", n.List())
	}
	exit, err := n.Stop(context.Background(), "train", 5, "moved")
	if err != nil {
		t.Fatal(err)
	}
	if exit.Epoch != 5 || !exit.Expected || exit.Reason != "moved" || exit.Signal != syscall.SIGTERM {
		t.Errorf("exit %+v", exit)
	}
	if err = n.Start(context.Background(), n.launch(8, "/bin/sleep", "60")); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("an epoch at the floor: %v", err)
	}
	n.restart()
	if got := n.Floor("train"); got != 8 {
		t.Errorf("floor after a restart %d, want 8", got)
	}
	l := n.launch(9, "/bin/sleep", "60")
	l.Deadline = Now().Add(-time.Nanosecond)
	if err = n.Start(context.Background(), l); !errors.Is(err, ErrExpired) {
		t.Errorf("an expired lease: %v", err)
	}
	if got := n.Floor("train"); got != 8 {
		t.Errorf("an expired lease used epoch 9 up: floor %d", got)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	text := filepath.Join(t.TempDir(), "text")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.WriteFile(text, []byte("x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*Launch)
		want string
		own  bool // the workload's own fault
	}{
		{"command not found", func(l *Launch) { l.Workload.Command = []string{"no-such-program"} }, `command "no-such-program": not found in PATH`, true},
		{"command missing", func(l *Launch) { l.Workload.Command = []string{"/no/such/program"} }, "/no/such/program: no such file", true},
		{"not executable", func(l *Launch) { l.Workload.Command = []string{file} }, "is not executable", true},
		{"not a program", func(l *Launch) { l.Workload.Command = []string{text} }, "exec format error", true},
		{"no state directory", func(l *Launch) { l.Workload.StateDir = "" }, "no state directory", false},
		{"state directory is a file", func(l *Launch) { l.Workload.StateDir = filepath.Join(file, "state") }, "create the state directory", true},
		{"no such signal", func(l *Launch) {
			l.Workload.Hook = forestall.Hook{Kind: forestall.HookSignal, Signal: "SIGFOO", AckFile: "ack", Timeout: time.Second}
		}, `"SIGFOO" is not a signal`, true},
		{"no epoch", func(l *Launch) { l.Epoch = 0 }, "not an epoch", false},
		{"no command", func(l *Launch) { l.Workload.Command = nil }, "command: is empty", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			l := n.launch(1, "/bin/sleep", "60")
			tt.edit(&l)
			err := n.Start(context.Background(), l)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if own := errors.Is(err, ErrWorkload); own != tt.own {
				t.Errorf("the workload's own fault: %t: %v", own, err)
			}
			if list := n.List(); len(list) != 0 {
				t.Errorf("runs %+v", list)
			}
			if err := n.Start(context.Background(), n.launch(2, "/bin/sleep", "60")); err != nil {
				t.Errorf("the next epoch: %v", err)
			}
		})
	}
}

func TestWhatTheNodeLacksIsNotTheWorkloadsFault(t *testing.T) {
	for err, own := range map[error]bool{
		&os.PathError{Op: "mkdir", Path: "/data", Err: syscall.ENOSPC}:  false,
		fmt.Errorf("execute /bin/sleep: %w", syscall.EAGAIN):            false,
		&os.PathError{Op: "mkdir", Path: "/data", Err: syscall.ENOTDIR}: true,
		fmt.Errorf("execute /bin/sleep: %w", syscall.EACCES):            true,
	} {
		got := newWireError(cannotStart("train", err))
		if errors.Is(got, ErrWorkload) != own || !strings.Contains(got.Error(), err.Error()) {
			t.Errorf("%v: %v, want ErrWorkload: %t", err, got, own)
		}
	}
}

func TestLongRunDirectory(t *testing.T) {
	n := &node{t: t, dir: filepath.Join(t.TempDir(), strings.Repeat("d", 120), "run"), state: filepath.Join(t.TempDir(), strings.Repeat("s", 120))}
	n.boot()
	defer n.stop()
	l := n.launch(1, job("http", "ok")...)
	l.Workload.Hook = forestall.Hook{Kind: forestall.HookHTTP, URL: "unix:hook.sock", Timeout: long}
	n.start(l)
	await(t, "the hook's socket", func() bool { return exists(filepath.Join(n.state, "up")) })
	if err := n.Hook(context.Background(), "train", 1, false); err != nil {
		t.Error(err)
	}
	if _, err := n.Stop(context.Background(), "train", 1, ""); err != nil {
		t.Error(err)
	}
}

func TestSupervisorLeaksNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	n := &node{t: t, dir: filepath.Join(t.TempDir(), "run"), state: t.TempDir()}
	n.boot()
	n.start(n.launch(1, "/bin/sleep", "60"))
	n.restart()
	n.restart()
	if _, err := n.Stop(context.Background(), "train", 1, ""); err != nil {
		t.Error(err)
	}
	n.stop()
	if err := n.Start(context.Background(), n.launch(2, "/bin/sleep", "60")); !errors.Is(err, ErrClosed) {
		t.Errorf("start after the end of Run: %v", err)
	}
}

func TestUseBeforeAdopt(t *testing.T) {
	s, err := NewSupervisor(Config{Dir: t.TempDir(), Shim: []string{os.Args[0]}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RaiseFloor("train", 1); err == nil || !strings.Contains(err.Error(), "Adopt") {
		t.Errorf("error %v", err)
	}
}
