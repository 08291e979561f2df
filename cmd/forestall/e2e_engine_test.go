package main

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// testLease is the term of leases in profile fast, which the demo's nodes have.
const testLease = 3 * time.Second

type testRun struct {
	Epoch forestall.Epoch
	PID   int
}

// runsOn returns the runs on node i, as its own engine sees them, once that one
// has found the processes of all of them.
func (c *testCluster) runsOn(i int) map[string]testRun {
	c.t.Helper()
	var runs map[string]testRun
	awaitOn(c, i, "the runs of the node and their processes", (*api.Client).Workloads, func(l []api.WorkloadStatus) bool {
		runs = map[string]testRun{}
		for _, w := range workloadsOn(l, demoNodeName(i)) {
			if w.PID == 0 || w.State != api.StateRunning {
				return false
			}
			runs[w.Name] = testRun{w.Epoch, w.PID}
		}
		return len(l) == len(demoWorkloads)
	})
	return runs
}

// TestE2EEngineDiesAndItsWorkGoesOn kills an engine, and nothing but it, first a
// follower's and then the leader's, and starts it again within the lease: the
// same processes go on under the same epochs, also past the leases that the
// dead engine had.
func TestE2EEngineDiesAndItsWorkGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	c := startCluster(t)
	all := awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	status := awaitOn(c, 0, "a leader", (*api.Client).Status, api.Status.CanAgree)
	leader := c.index(status.Leader)
	follower := (leader + 1) % testPlan.nodes
	if len(workloadsOn(all, demoNodeName(follower))) == 0 {
		follower = (leader + 2) % testPlan.nodes
	}
	tested := 0
	for _, victim := range []int{follower, leader} {
		before := c.runsOn(victim) // none, if it joined after all had been started
		tested += len(before)
		c.killEngine(victim)
		killed := time.Now()
		c.start(victim)
		if diff := cmp.Diff(before, c.runsOn(victim)); diff != "" {
			t.Errorf("the runs on %s after its engine was killed and started again (-before +after):\n%s", demoNodeName(victim), diff)
		}
		t.Logf("%s, leader %t, found its runs again %s after the kill", demoNodeName(victim), victim == leader, time.Since(killed).Round(time.Millisecond))
		for name, run := range before {
			c.awaitWork(name, run, killed.Add(2*testLease))
		}
		if diff := cmp.Diff(before, c.runsOn(victim)); diff != "" {
			t.Errorf("the runs on %s two leases after its engine was killed (-before +after):\n%s", demoNodeName(victim), diff)
		}
	}
	if tested == 0 {
		t.Errorf("neither %s nor %s had a workload", demoNodeName(follower), demoNodeName(leader))
	}
	c.judgeRuns(nil)
}

// awaitWork waits until a run has noted work after a moment.
func (c *testCluster) awaitWork(workload string, run testRun, after time.Time) {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		for _, e := range c.journal(workload) {
			if e.PID == run.PID && e.Epoch == run.Epoch && e.Time.After(after) {
				return
			}
		}
		if time.Now().After(end) {
			c.t.Fatalf("%s has done nothing as %+v after %s", workload, run, after)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at another process's file
	}
}

// TestE2ELoneEngineCannotJoin gives the directory of an engine that ran alone
// to a node of a cluster: it would be two clusters, each with every right.
func TestE2ELoneEngineCannotJoin(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	dir := t.TempDir()
	c := loneConfig(t, dir)
	client, _ := startLone(t, c, dir)
	awaitLone(t, "its checkpoint", client.Workloads, func(l []api.WorkloadStatus) bool { return len(l) == 1 && l[0].Head != nil })
	if err := killDemo(dir, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	ports, err := freeDemoPorts(3)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range ports {
		c.Cluster.Nodes = append(c.Cluster.Nodes, fmt.Sprintf("%s=%s", demoNodeName(i), net.JoinHostPort("127.0.0.1", fmt.Sprint(p))))
	}
	refused(t, c, dir, filepath.Join(c.Engine.DataDir, "raft"), "belongs to an engine that ran alone")
}
