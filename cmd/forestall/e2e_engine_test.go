package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
)

// patientLease is the term of leases in profile standard.
const patientLease = 15 * time.Second

type testRun struct {
	Epoch forestall.Epoch
	PID   int
}

// runsOn returns the runs on node i, as its own engine sees them, once that one
// knows of all workloads that they run and has found its own processes. An engine
// that was started again is asked only once its ledger is not that of the past.
func (c *testCluster) runsOn(i int) map[string]testRun {
	c.t.Helper()
	awaitOn(c, i, "the engine to be ready", func(cl *api.Client, ctx context.Context) (bool, error) { return true, cl.Ready(ctx) }, func(bool) bool { return true })
	var runs map[string]testRun
	awaitOn(c, i, "the runs of the node and their processes", (*api.Client).Workloads, func(l []api.WorkloadStatus) bool {
		runs = map[string]testRun{}
		for _, w := range l {
			mine := w.Node == demoNodeName(i)
			if w.State != api.StateRunning || mine && w.PID == 0 {
				return false
			}
			if mine {
				runs[w.Name] = testRun{w.Epoch, w.PID}
			}
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
	c := startCluster(t, patient)
	again := map[string]int{}
	tested := 0
	for _, leads := range []bool{false, true} {
		for try := 1; ; try++ {
			all := awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
			victim := c.index(awaitOn(c, 0, "a leader", (*api.Client).Status, api.Status.CanAgree).Leader)
			if !leads {
				victim = (victim + 1) % testPlan.nodes
				if len(workloadsOn(all, demoNodeName(victim))) == 0 {
					victim = (victim + 1) % testPlan.nodes
				}
			}
			before := c.runsOn(victim) // none, if it joined after all had been started
			failures := c.failures(victim)
			wrong := c.crash(victim, before)
			if wrong == "" {
				tested += len(before)
				break
			}
			// On a busy machine the others may agree that the node has failed before its
			// engine is there again; they are right then to have its work go on elsewhere.
			// The ledger's order tells: the failure comes before what was done about it.
			if c.failures(victim) == failures || try == 5 {
				t.Fatalf("%s, leader %t: %s", demoNodeName(victim), leads, wrong)
			}
			t.Logf("%s, leader %t, was back too late and had failed; once more", demoNodeName(victim), leads)
			for _, w := range awaitOn(c, victim, "all workloads with a checkpoint", (*api.Client).Workloads, settled) {
				if run, its := before[w.Name]; its && run.Epoch != w.Epoch {
					again[w.Name]++
				}
			}
		}
	}
	if tested == 0 {
		t.Error("no engine that was killed had a workload")
	}
	c.judgeRuns(again)
}

// crash kills the engine of node i, starts it again and says what has become other
// than before with the runs on it, also once the leases that it had are over.
func (c *testCluster) crash(i int, before map[string]testRun) (wrong string) {
	c.t.Helper()
	c.killEngine(i)
	killed := time.Now()
	c.start(i)
	if diff := cmp.Diff(before, c.runsOn(i)); diff != "" {
		return "the runs after its engine was killed and started again (-before +after):\n" + diff
	}
	c.t.Logf("%s found its runs again %s after the kill", demoNodeName(i), time.Since(killed).Round(time.Millisecond))
	for name, run := range before {
		if !c.works(name, run, killed.Add(patientLease+patientLease/10)) {
			return fmt.Sprintf("%s has done nothing as %+v since the leases of the engine that was killed are over", name, run)
		}
	}
	if diff := cmp.Diff(before, c.runsOn(i)); diff != "" {
		return "the runs after the leases of the engine that was killed (-before +after):\n" + diff
	}
	return ""
}

// works reports whether a run notes work after a moment, which it waits for.
func (c *testCluster) works(workload string, run testRun, after time.Time) bool {
	c.t.Helper()
	for end := time.Now().Add(c.patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // between two looks at another process's file
		for _, e := range c.journal(workload) {
			if e.PID == run.PID && e.Epoch == run.Epoch && e.Time.After(after) {
				return true
			}
		}
	}
	return false
}

// failures counts the incidents of node i.
func (c *testCluster) failures(i int) (n int) {
	c.t.Helper()
	for _, in := range awaitOn(c, i, "the incidents", (*api.Client).Incidents, func([]forestall.Incident) bool { return true }) {
		if in.Component == forestall.Node(demoNodeName(i)) {
			n++
		}
	}
	return n
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
