package workload

import (
	"context"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// frozenShim starts a run that has outgrown its process group and stops its
// shim before its lease runs out.
func frozenShim(t *testing.T, n *node) (Status, []int) {
	t.Helper()
	dir := t.TempDir()
	l := n.launch(1, job("tree", "2", dir)...)
	l.Deadline = Now().Add(time.Minute)
	st := n.start(l)
	await(t, "the tree", func() bool { return len(tree(t, dir)) == 13 })
	kill(t, st.ShimPID, unix.SIGSTOP)
	return st, tree(t, dir)
}

// shorten lets the lease of what runs end soon, which no renewal can do.
func (n *node) shorten(d time.Duration) Deadline {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.slots["train"].run
	r.deadline = Now().Add(d)
	n.arm(r, r.deadline.Add(leaseGrace/2))
	return r.deadline
}

func TestFrozenShimDoesNotOutliveTheLease(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	_, pids := frozenShim(t, n)
	deadline := n.shorten(100 * time.Millisecond)
	await(t, "the workload's death", func() bool {
		for _, pid := range pids {
			if !gone(pid) {
				return false
			}
		}
		return true
	})
	late := -deadline.Until(Now())
	if late < 0 || late > time.Second {
		t.Errorf("dead %v after the deadline", late)
	}
	t.Logf("seen dead %v after the deadline", late)
	if e := n.exit(); !e.Expected || e.Reason != overdueReason || e.Signal != syscall.SIGKILL {
		t.Errorf("exit %+v", e)
	}
	n.start(n.launch(2, "/bin/sleep", "60"))
}

// What a new engine finds frozen past its lease is ended too: it can't know of
// renewals by the engine before.
func TestFrozenShimIsNotAdopted(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	l := n.launch(1, "/bin/sleep", "60")
	l.Deadline = Now().Add(1500 * time.Millisecond)
	st := n.start(l)
	n.stop()
	kill(t, st.ShimPID, unix.SIGSTOP)
	await(t, "the lease's end", func() bool { return l.Deadline.Passed(Now()) })
	if gone(st.PID) {
		t.Fatal("the run ended without a shim or an engine to end it")
	}
	n.boot()
	if e := n.exit(); e.Reason != overdueReason || !gone(st.PID) {
		t.Errorf("exit %+v", e)
	}
}

// The shim has the renewal, its answer was lost.
func TestRenewalWithoutAnAnswerCounts(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.grace = long // for a shim on a busy machine to answer in
	l := n.launch(1, "/bin/sleep", "60")
	l.Deadline = Now().Add(time.Minute)
	st := n.start(l)
	n.shorten(50 * time.Millisecond) // the shim knows of a minute
	await(t, "the supervisor to learn of it", func() bool { return n.List()[0].Deadline == l.Deadline })
	if gone(st.PID) || gone(st.ShimPID) {
		t.Error("killed although its lease lasts")
	}
}

func TestStartGivesUpAFrozenShimAtTheDeadline(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.cfg.Shim = []string{n.cfg.Shim[0], "late-shim"} // stops before its first step
	l := n.launch(1, "/bin/sleep", "60")
	l.Deadline = Now().Add(200 * time.Millisecond)
	if err := n.Start(context.Background(), l); err == nil {
		t.Fatal("a shim that stands still started something")
	}
	if late := -l.Deadline.Until(Now()); late > startLimit/2 {
		t.Errorf("given up %v after the deadline", late)
	}
	if list := n.List(); len(list) != 0 {
		t.Errorf("runs %+v", list)
	}
}
