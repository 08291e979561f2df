package workload

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stratoswarm/forestall"
)

func kill(t *testing.T, pid int, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(pid, sig); err != nil {
		t.Fatalf("send %v to %d: %v", sig, pid, err)
	}
	for sig == unix.SIGSTOP && !stopped(t, pid) { // a thread may answer until it has
		time.Sleep(time.Millisecond)
	}
}

// stopped reports whether every thread of a process has been stopped.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("threads of %d: %v", pid, err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err == nil && stat[bytes.LastIndexByte(stat, ')')+2] != 'T' {
			return false
		}
	}
	return true
}

func TestLeaseExpiryKills(t *testing.T) {
	t.Parallel() // they wait for a lease long enough for a busy machine to start in
	n := newNode(t)
	n.grace = long // the shim is to do it, though a busy machine makes it late
	l := n.launch(1, sh("trap '' TERM; sleep 60 & sleep 60")...)
	l.Deadline = Now().Add(3 * time.Second)
	st := n.start(l)
	deadline := l.Deadline.Add(200 * time.Millisecond)
	if err := n.Renew(context.Background(), "train", 1, deadline); err != nil {
		t.Fatal(err)
	}
	if err := n.Renew(context.Background(), "train", 1, l.Deadline); err != nil {
		t.Errorf("an earlier deadline: %v", err)
	}
	if got := n.List()[0].Deadline; got != deadline {
		t.Errorf("listed deadline %v, want %v", got, deadline)
	}
	await(t, "the workload's death", func() bool { return gone(st.PID) })
	late := -deadline.Until(Now())
	if late < 0 || late > time.Second { // 2 to 4 ms on a machine that isn't busy
		t.Errorf("killed %v after the deadline", late)
	}
	t.Logf("seen dead %v after the deadline", late)
	if e := n.exit(); !e.Expected || e.Reason != "lease expired" || e.Signal != syscall.SIGKILL {
		t.Errorf("exit %+v", e)
	}
	if err := n.Renew(context.Background(), "train", 1, Now().Add(time.Second)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("renewed after the end: %v", err)
	}
}

func TestLeaseExpiresWithoutAnEngine(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	l := n.launch(1, "/bin/sleep", "60")
	l.Deadline = Now().Add(1500 * time.Millisecond)
	st := n.start(l)
	n.stop()
	await(t, "the workload's death", func() bool { return gone(st.PID) })
	n.boot()
	if e := n.exit(); e.Reason != "lease expired" {
		t.Errorf("exit %+v", e)
	}
}

func TestShimDeathKillsTheWorkload(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	st := n.start(n.launch(1, job("tree", "2", dir)...))
	await(t, "the tree", func() bool { return len(tree(t, dir)) == 13 })
	kill(t, st.ShimPID, unix.SIGKILL)
	if e := n.exit(); e.Expected || e.Signal != syscall.SIGKILL || !strings.Contains(e.Reason, "shim died") {
		t.Errorf("exit %+v", e)
	}
	for _, pid := range append(tree(t, dir), st.PID) {
		if !gone(pid) {
			t.Errorf("process %d of the workload outlived its shim", pid)
		}
	}
	if err := n.Start(context.Background(), n.launch(2, "/bin/sleep", "60")); err != nil {
		t.Errorf("the next epoch: %v", err)
	}
}

// tree returns the processes that jobTree has started.
func tree(t *testing.T, dir string) []int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestGroupDiesWithShimWithoutAnEngine(t *testing.T) {
	n := newNode(t)
	st := n.start(n.launch(1, sh("sleep 60 & echo $! > child.tmp; mv child.tmp child; wait")...))
	await(t, "the child", func() bool { return exists(filepath.Join(n.state, "child")) })
	b, err := os.ReadFile(filepath.Join(n.state, "child"))
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscan(string(b), &child); err != nil {
		t.Fatal(err)
	}
	n.stop()
	kill(t, st.ShimPID, unix.SIGKILL)
	await(t, "the death of the whole group", func() bool { return gone(st.PID) && gone(child) })
	n.boot()
	if e := n.exit(); e.Epoch != 1 || e.Expected {
		t.Errorf("exit %+v", e)
	}
}

func TestStopLeavesNothing(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	n.start(n.launch(1, job("tree", "3", dir)...)) // ignores SIGTERM
	await(t, "the tree", func() bool { return len(tree(t, dir)) == 40 })
	e, err := n.Stop(context.Background(), "train", 1, "stop requested")
	if err != nil {
		t.Fatal(err)
	}
	if !e.Expected || e.Reason != "stop requested" || e.Signal != syscall.SIGKILL {
		t.Errorf("exit %+v", e)
	}
	for _, pid := range tree(t, dir) {
		if !gone(pid) {
			t.Errorf("process %d is alive after Stop", pid)
		}
	}
	again, err := n.Stop(context.Background(), "train", 1, "again")
	if err != nil || again.Reason != "stop requested" {
		t.Errorf("second stop: %+v, %v", again, err)
	}
}

func TestStopIsGraceful(t *testing.T) {
	n := newNode(t)
	n.start(n.launch(1, sh("trap 'echo saved > saved; exit 0' TERM; echo > up; while :; do sleep 0.01; done")...))
	await(t, "the workload", func() bool { return exists(filepath.Join(n.state, "up")) })
	e, err := n.Stop(context.Background(), "train", 1, "stop requested")
	if err != nil || e.Code != 0 || e.Signal != 0 || !e.Expected {
		t.Errorf("exit %+v, %v", e, err)
	}
	if !exists(filepath.Join(n.state, "saved")) {
		t.Error("the workload was not given the time to save")
	}
}

func TestStopOfWhatNeverRan(t *testing.T) {
	n := newNode(t)
	e, err := n.Stop(context.Background(), "train", 7, "fence")
	if err != nil || e != (forestall.Exit{}) {
		t.Errorf("exit %+v, %v", e, err)
	}
	if err := n.Start(context.Background(), n.launch(7, "/bin/sleep", "60")); !errors.Is(err, forestall.ErrStaleEpoch) {
		t.Errorf("started what was stopped before: %v", err)
	}
}

func TestStopDoesNotTouchANewerEpoch(t *testing.T) {
	n := newNode(t)
	st := n.start(n.launch(9, "/bin/sleep", "60"))
	if _, err := n.Stop(context.Background(), "train", 7, "late"); err != nil {
		t.Fatal(err)
	}
	if gone(st.PID) {
		t.Error("a late stop of epoch 7 killed epoch 9")
	}
}

func TestStopOfAShimThatHangs(t *testing.T) {
	n := newNode(t)
	st := n.start(n.launch(1, "/bin/sleep", "60"))
	kill(t, st.ShimPID, unix.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := n.Stop(ctx, "train", 1, "first"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop of a hanging shim: %v", err)
	}
	kill(t, st.ShimPID, unix.SIGCONT)
	if _, err := n.Stop(context.Background(), "train", 1, "second"); err != nil || !gone(st.PID) {
		t.Errorf("second stop: %v", err)
	}
}

func TestRenewalOfAShimThatHangsEndsWithItsContext(t *testing.T) {
	n := newNode(t)
	l := n.launch(1, "/bin/sleep", "60")
	l.Deadline = Now().Add(time.Hour)
	st := n.start(l)
	kill(t, st.ShimPID, unix.SIGSTOP)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := n.Renew(ctx, "train", 1, l.Deadline.Add(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("renewal of a hanging shim: %v", err)
	}
	if took := time.Since(begin); took > shimPatience/2 {
		t.Errorf("gave up after %v", took)
	}
	kill(t, st.ShimPID, unix.SIGCONT)
}

func TestShimHeedsSIGTERMAlone(t *testing.T) {
	n := newNode(t)
	st := n.start(n.launch(1, "/bin/sleep", "60"))
	kill(t, st.ShimPID, unix.SIGHUP)
	kill(t, st.ShimPID, unix.SIGINT)
	kill(t, st.ShimPID, unix.SIGTERM)
	if e := n.exit(); e.Expected || e.Signal != syscall.SIGTERM || e.Reason != "shim received SIGTERM" {
		t.Errorf("exit %+v", e)
	}
}

func TestRestartOfTheEngineKeepsTheRun(t *testing.T) {
	n := newNode(t)
	l := n.launch(4, "/bin/sleep", "60")
	l.Deadline = Now().Add(time.Minute)
	st := n.start(l)
	if err := n.Renew(context.Background(), "train", 4, l.Deadline.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := n.Freeze(context.Background(), "train", 4); err != nil {
		t.Fatal(err)
	}
	n.restart()
	list := n.List()
	if len(list) != 1 || list[0].PID != st.PID || list[0].ShimPID != st.ShimPID || list[0].Epoch != 4 || !list[0].Frozen || list[0].Deadline != l.Deadline.Add(time.Minute) {
		t.Fatalf("adopted %+v, want %+v frozen", list, st)
	}
	if err := n.Thaw(context.Background(), "train", 4); err != nil {
		t.Error(err)
	}
	if e, err := n.Stop(context.Background(), "train", 4, ""); err != nil || e.Signal != syscall.SIGTERM {
		t.Errorf("stop after adoption: %+v, %v", e, err)
	}
	n.exit()
}

func TestAdoptionGivenUpKillsNothing(t *testing.T) {
	n := newNode(t)
	st := n.start(n.launch(4, "/bin/sleep", "60"))
	n.stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.tryBoot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("adoption: %v", err)
	}
	if gone(st.PID) {
		t.Error("the run was killed")
	}
	n.restart()
	if list := n.List(); len(list) != 1 || list[0].PID != st.PID {
		t.Errorf("adopted %+v, want %+v", list, st)
	}
}

func TestDamagedFloorStartsNothing(t *testing.T) {
	n := newNode(t)
	if err := n.RaiseFloor("train", 5); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(n.dir, "train", floorFile)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(b, []byte("5"), []byte("1"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	err = n.Start(context.Background(), n.launch(9, "/bin/sleep", "60"))
	if !errors.Is(err, errCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

// Nothing of what is killed at random moments may leave two copies alive: each
// copy writes its epoch and the time into a log.
func TestNeverTwoCopies(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	n := newNode(t)
	log := filepath.Join(t.TempDir(), "log")
	begin := time.Now()
	n.start(n.launch(1, job("live", log)...))
	await(t, "the first copy", func() bool { return exists(log) })
	up := time.Since(begin) // faults come around the time that a copy takes to come up
	const last = 25
	for epoch := forestall.Epoch(2); epoch <= last; epoch++ {
		if _, err := n.Stop(context.Background(), "train", epoch-1, "next"); err != nil {
			t.Fatalf("round %d: %v", epoch-1, err)
		}
		l := n.launch(epoch, job("live", log)...)
		l.Workload.Stop = 20 * time.Millisecond
		ctx, cancel := context.WithCancel(context.Background())
		pause := time.Duration(rnd.Int64N(2*int64(up) + 1))
		fault := rnd.IntN(4)
		if fault == 0 { // the start is given up half way
			time.AfterFunc(pause, cancel)
		}
		err := n.Start(ctx, l)
		cancel()
		if err != nil && fault != 0 {
			t.Fatalf("round %d, fault %d: %v", epoch, fault, err)
		}
		time.Sleep(pause) // the moment of the fault, not a wait
		switch fault {
		case 1: // the shim dies
			for _, st := range n.List() {
				_ = unix.Kill(st.ShimPID, unix.SIGKILL)
			}
		case 2: // the engine and the shim die
			n.stop()
			if r, ok := runDir(filepath.Join(n.dir, "train")).shim(); ok {
				_ = unix.Kill(r.Shim.PID, unix.SIGKILL)
			}
			n.boot()
		case 3: // the engine dies and returns
			n.restart()
		}
	}
	checkLives(t, log)
}

// checkLives reads "epoch pid nanos" lines and demands that each process's
// lines come after all of the one before.
func checkLives(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	type life struct{ epoch, pid int }
	var now life
	seen := make(map[life]bool)
	lines := 0
	for scan := bufio.NewScanner(f); scan.Scan(); lines++ {
		var l life
		var at int64
		if _, err := fmt.Sscan(scan.Text(), &l.epoch, &l.pid, &at); err != nil {
			t.Fatalf("line %d: %v", lines+1, err)
		}
		if l != now {
			if seen[l] || l.epoch <= now.epoch {
				t.Errorf("line %d: epoch %d (pid %d) is alive after epoch %d began", lines+1, l.epoch, l.pid, now.epoch)
			}
			now, seen[l] = l, true
		}
	}
	if len(seen) < 5 {
		t.Errorf("only %d copies ever lived", len(seen))
	}
	t.Logf("%d copies, %d lines", len(seen), lines)
}
