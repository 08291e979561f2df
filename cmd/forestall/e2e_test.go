package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/internal/worker"
)

// TestMain lets the test binary be every program of a cluster: engines, shims
// and workers are real processes of it.
func TestMain(m *testing.M) {
	// Whatever the program starts of itself must never be the tests once more.
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// testCluster is three engines, each a process with a directory of its own,
// and the demo's workloads.
type testCluster struct {
	t        *testing.T
	dir      string
	patience time.Duration // with what is awaited
	configs  []string
	clients  []*api.Client
	engines  []*exec.Cmd
}

// testInterval is the time between two checkpoints: shorter than the demo's, as
// many tests wait for one.
const testInterval = 3 * time.Second

var testPlan = demoPlan{nodes: 3, gpus: 8, seed: 1}

func testNodeConfig(dir string, i int, ports []int) engine.Config {
	c := demoNodeConfig(testPlan, dir, os.Args[0], i, ports)
	c.FaultTolerance.CheckpointInterval.Duration = testInterval
	for w := range c.Workloads {
		c.Workloads[w].CheckpointInterval.Duration = testInterval
	}
	return c
}

// startCluster starts the engines, whose configuration tune may change.
func startCluster(t *testing.T, tune ...func(*engine.Config)) *testCluster {
	t.Helper()
	dir, err := os.MkdirTemp("", "forestall-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, dir: dir, patience: 90 * time.Second}
	t.Cleanup(c.end)
	ports, err := freeDemoPorts(testPlan.nodes)
	if err != nil {
		t.Fatal(err)
	}
	if c.configs, err = writeDemoFiles(testPlan, dir, os.Args[0], ports); err != nil {
		t.Fatal(err)
	}
	c.engines = make([]*exec.Cmd, testPlan.nodes)
	for i := range testPlan.nodes {
		config := testNodeConfig(dir, i, ports)
		for _, change := range tune {
			change(&config)
		}
		writeConfig(t, config, c.configs[i])
		c.clients = append(c.clients, api.NewClient(fmt.Sprintf("http://127.0.0.1:%d", ports[i]+demoPortAPI)))
		c.start(i)
	}
	return c
}

// start runs the engine of node i.
func (c *testCluster) start(i int) {
	c.t.Helper()
	log, err := os.OpenFile(filepath.Join(c.dir, demoNodeName(i), "engine.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(os.Args[0], "engine", "--config", c.configs[i])
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.engines[i] = cmd
}

// killEngine ends the engine of node i without warning; shims and workers
// stay.
func (c *testCluster) killEngine(i int) {
	_ = c.engines[i].Process.Kill()
	_ = c.engines[i].Wait()
}

// killNode ends every process of node i without warning.
func (c *testCluster) killNode(i int) {
	c.t.Helper()
	if err := killDemo(filepath.Join(c.dir, demoNodeName(i)), 10*time.Second); err != nil {
		c.t.Fatal(err)
	}
	_ = c.engines[i].Wait()
}

func (c *testCluster) end() {
	if err := killDemo(c.dir, 10*time.Second); err != nil {
		c.t.Error(err)
	}
	for _, e := range c.engines {
		_ = e.Wait()
	}
	if c.t.Failed() {
		for i := range c.engines {
			b, _ := os.ReadFile(filepath.Join(c.dir, demoNodeName(i), "engine.log"))
			c.t.Logf("log of %s:\n%s", demoNodeName(i), b)
		}
	}
	os.RemoveAll(c.dir)
}

// awaitOn polls the API of node i until the answer satisfies ok.
func awaitOn[T any](c *testCluster, i int, what string, ask func(*api.Client, context.Context) (T, error), ok func(T) bool) T {
	c.t.Helper()
	for end := time.Now().Add(c.patience); ; {
		v, err := ask(c.clients[i], c.t.Context())
		if err == nil && ok(v) {
			return v
		}
		if time.Now().After(end) {
			c.t.Fatalf("waited in vain for %s; the last answer of %s is %+v, %v", what, demoNodeName(i), v, err)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at other processes
	}
}

// patient gives an engine the profile whose leases and witnesses bear a machine that
// stands still for seconds. It is for tests that ask what happens and not how soon:
// in profile fast such a machine loses nodes and leases that nobody took from it.
func patient(c *engine.Config) { c.Cluster.Profile = "standard" }

// settled reports whether every workload runs and has a checkpoint of its
// present run.
func settled(list []api.WorkloadStatus) bool {
	for _, w := range list {
		if w.State != api.StateRunning || w.Head == nil || w.Head.Epoch != w.Epoch {
			return false
		}
	}
	return len(list) == len(demoWorkloads)
}

func (c *testCluster) index(node string) int {
	n, err := strconv.Atoi(node[1:])
	if err != nil {
		c.t.Fatalf("node %q", node)
	}
	return n - 1
}

// judge reads what the workers themselves wrote down: each workload lived, no
// two copies of one ever did at once, and none went on from a state that no run
// had reached. It returns what became of the work from one run to the next.
//
// Not one step may be skipped: a worker notes a step durably before it
// acknowledges the checkpoint that holds it, and only a checkpoint is restored.
func (c *testCluster) judge() map[string][]worker.Loss {
	c.t.Helper()
	losses := map[string][]worker.Loss{}
	for _, w := range demoWorkloads {
		entries := c.journal(w.name)
		if len(entries) == 0 {
			c.t.Errorf("%s has never lived: its journal is empty", w.name)
		}
		for _, o := range worker.Overlaps(entries) {
			c.t.Errorf("%s lived twice: %s", w.name, o)
		}
		losses[w.name] = worker.Lost(entries)
		for _, l := range losses[w.name] {
			if l.Skipped != 0 {
				c.t.Errorf("%s skipped %d steps: %+v", w.name, l.Skipped, l)
			}
		}
	}
	return losses
}

// judgeRuns is judge for a test that knows how often each workload was started
// anew; one that is not named was never.
func (c *testCluster) judgeRuns(again map[string]int) map[string][]worker.Loss {
	c.t.Helper()
	losses := c.judge()
	for name, l := range losses {
		if len(l) != again[name] {
			c.t.Errorf("%s was started anew %d times, want %d: %+v", name, len(l), again[name], l)
		}
	}
	return losses
}

func (c *testCluster) journal(workload string) []worker.Entry {
	c.t.Helper()
	entries, err := worker.ReadJournals(demoJournal(c.dir, workload))
	if err != nil {
		c.t.Fatal(err)
	}
	return entries
}

// workloadsOn returns those that are on a node.
func workloadsOn(all []api.WorkloadStatus, node string) (on []api.WorkloadStatus) {
	for _, w := range all {
		if w.Node == node {
			on = append(on, w)
		}
	}
	return on
}

// once says that each of the workloads is started anew one time.
func once(workloads []api.WorkloadStatus) map[string]int {
	again := map[string]int{}
	for _, w := range workloads {
		again[w.Name] = 1
	}
	return again
}

func TestE2ENodeDiesAndItsWorkGoesOnElsewhere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	c := startCluster(t)
	before := awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	victim := before[0]
	dead := c.index(victim.Node)
	alive := (dead + 1) % 3
	c.killNode(dead)
	killed := time.Now()

	after := awaitOn(c, alive, "every workload to run off the dead node", (*api.Client).Workloads, func(l []api.WorkloadStatus) bool {
		return settled(l) && !slices.ContainsFunc(l, func(w api.WorkloadStatus) bool { return w.Node == victim.Node })
	})
	incidents := awaitOn(c, alive, "the incident", (*api.Client).Incidents, func(l []forestall.Incident) bool {
		return slices.ContainsFunc(l, func(i forestall.Incident) bool {
			return i.Component == forestall.Node(victim.Node) && i.Kind == forestall.NodeCrash
		})
	})
	for i, w := range after {
		if w.Name == victim.Name && w.Epoch <= before[i].Epoch {
			t.Errorf("%s was recovered under epoch %d, which is not above %d", w.Name, w.Epoch, before[i].Epoch)
		}
	}
	if len(incidents[0].Evidence) == 0 {
		t.Error("the incident says no evidence")
	}
	if in := incidents[0]; in.Start.After(killed) || !in.Start.Before(in.Agreed) {
		t.Errorf("the incident starts at %s, agreed on at %s; the node was dead by %s", in.Start, in.Agreed, killed)
	}
	// The node returns and is a member again.
	c.start(dead)
	awaitOn(c, alive, "the node to be back", (*api.Client).Members, func(l []forestall.Member) bool {
		return slices.ContainsFunc(l, func(m forestall.Member) bool {
			return m.Name == victim.Node && m.State == forestall.MemberAlive
		})
	})
	lost := workloadsOn(before, victim.Node)
	losses := c.judgeRuns(once(lost))
	for _, w := range lost {
		for _, loss := range losses[w.Name] {
			if work := time.Duration(loss.Redone) * demoStepEvery; work > testInterval+3*time.Second {
				t.Errorf("%s of work lost by %s, more than a checkpoint interval: %+v", work, w.Name, loss)
			}
		}
	}
}

func TestE2EDegradingGPUIsLeftInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	c := startCluster(t)
	before := awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	victim := before[0]
	node := c.index(victim.Node)
	gpu := forestall.GPU(victim.Node, victim.GPUs[0])
	awaitOn(c, node, "the GPU to be judged", func(cl *api.Client, ctx context.Context) (forestall.Risk, error) { return cl.Risk(ctx, gpu) },
		func(r forestall.Risk) bool { return r.Grade != forestall.Unknown })
	if err := c.clients[node].Inject(t.Context(), victim.GPUs[0], "ecc_storm", 25*time.Second); err != nil {
		t.Fatal(err)
	}
	moved := awaitOn(c, (node+1)%3, "the move to be done", (*api.Client).Migrations, func(l []forestall.Migration) bool {
		return slices.ContainsFunc(l, func(m forestall.Migration) bool {
			return m.Workload == victim.Name && m.Action == forestall.ActionMigrate && m.Phase == forestall.PhaseDone
		})
	})
	i := slices.IndexFunc(moved, func(m forestall.Migration) bool {
		return m.Workload == victim.Name && m.Action == forestall.ActionMigrate
	})
	m := moved[i]
	if m.Component != gpu || len(m.Reasons) == 0 || m.Checkpoint == "" {
		t.Errorf("the move says too little: component %s, reasons %q, checkpoint %q", m.Component, m.Reasons, m.Checkpoint)
	}
	incident := awaitOn(c, node, "the GPU to fail in the end", (*api.Client).Incidents, func(l []forestall.Incident) bool {
		return slices.ContainsFunc(l, func(i forestall.Incident) bool { return i.Component == gpu })
	})
	j := slices.IndexFunc(incident, func(i forestall.Incident) bool { return i.Component == gpu })
	if lead := incident[j].Start.Sub(m.At[forestall.PhaseDone]); lead <= 0 {
		t.Errorf("the workload was gone only %s after the GPU failed", -lead)
	} else {
		t.Logf("the workload was gone %s before the GPU failed; it stood still for %s", lead.Round(time.Millisecond), m.Pause)
	}
	for _, loss := range c.judgeRuns(map[string]int{victim.Name: 1})[victim.Name] {
		if loss.Redone != 0 {
			t.Errorf("the move repeated work: %+v", loss)
		}
	}
}

// TestE2EKillAtAnyMoment kills engines and shims at random moments, CHAOS_KILLS
// times (5 without it), with CHAOS_SEED's randomness, and lets every engine
// return. What it asks for afterwards is what ADR 1 promises: no workload ever
// lived twice, and all of them run again.
func TestE2EKillAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	kills, seed := envInt(t, "CHAOS_KILLS", 5), uint64(envInt(t, "CHAOS_SEED", int(time.Now().UnixNano()%1e9)))
	t.Logf("CHAOS_KILLS=%d CHAOS_SEED=%d", kills, seed)
	random := rand.New(rand.NewPCG(seed, 1))
	c := startCluster(t)
	c.patience = 6 * time.Minute // a workload killed again and again is restarted after pauses of up to 5
	awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	for k := range kills {
		pause := time.Duration(random.IntN(1500)) * time.Millisecond
		node := random.IntN(3)
		what := []string{"demo", "engine", "shim", "worker", "node"}[random.IntN(4)]
		if k == 0 {
			what = "engine" // at least one of what hurts most
		}
		time.Sleep(pause) // the random moment
		t.Logf("kill %d: %s of %s after %s", k+1, what, demoNodeName(node), pause)
		switch what {
		case "engine":
			c.killEngine(node)
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
			c.start(node)
		case "node":
			c.killNode(node)
			time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond)
			c.start(node)
		default:
			if _, err := signalDemo(filepath.Join(c.dir, demoNodeName(node)), what, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if k%5 == 4 || k == kills-1 {
			awaitOn(c, random.IntN(3), "every workload to run again", (*api.Client).Workloads, settled)
			c.judge()
		}
	}
}

func envInt(t *testing.T, key string, otherwise int) int {
	t.Helper()
	s := os.Getenv(key)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a positive number", key, s)
	}
	return n
}
