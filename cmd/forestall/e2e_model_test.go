package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
	"github.com/stratoswarm/forestall/model"
)

// TestE2EModelLife retrains on recorded telemetry, has the model run in shadow
// on a real cluster, promotes it and rolls it back. Each step is read back from
// every node's ledger, every node runs what the ledger says, also after a restart
// with its files damaged, and a model that no node has any more leaves the old one
// running.
func TestE2EModelLife(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	c := startCluster(t)
	status := awaitOn(c, 0, "a leader", (*api.Client).Status, api.Status.CanAgree)
	node := (c.index(status.Leader) + 1) % testPlan.nodes // a follower is asked
	url := func(i int) string { return c.apiURL(i) }

	// The hour is older than what the ledger knows: both lists are given.
	moves := filepath.Join(c.dir, "moves.json")
	if err := os.WriteFile(moves, []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := runs(t, "retrain", "--api", url(node), "--telemetry", recordHour(t), "--incidents", hourIncidents, "--interventions", moves, "--out", filepath.Join(c.dir, "hour"),
		"--horizon", "2m", "--lead", "10s", "--recovery", "1m", "--interval", "5s", "--windows", "10s,1m", "--days", "0.03",
		"--train=--trees=30", "--train=--leaves=7", "--train=--name=hour")
	for _, want := range []string{"Calibrated with ", "Proposed hour "} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	m, err := model.Load(filepath.Join(c.dir, "hour"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Card.Distribution == nil || m.Card.Training.From.IsZero() {
		t.Error("the card does not say how the training data lay, or when")
	}
	sha, err := m.Card.Digest()
	if err != nil {
		t.Fatal(err)
	}

	gpu := func(l []api.ModelStatus) api.ModelStatus {
		for _, m := range l {
			if m.Kind == forestall.KindGPU {
				return m
			}
		}
		return api.ModelStatus{}
	}
	// On all nodes it runs beside the champion, which is what was configured.
	for i := range testPlan.nodes {
		s := gpu(awaitOn(c, i, "the model in shadow", (*api.Client).Models, func(l []api.ModelStatus) bool { return gpu(l).Trial != nil }))
		if s.Trial.Model.SHA256 != sha || s.Roles.Step != forestall.ModelShadowed || !s.Roles.Champion.IsZero() || s.Version == m.Card.Version {
			t.Errorf("%s: %+v", demoNodeName(i), s)
		}
	}
	fails(t, "is asked for", "model", "promote", "gpu", "--api", url(node), "--sha256", "00")
	fails(t, "is the candidate already", "model", "propose", filepath.Join(c.dir, "hour"), "--api", url(node))

	runs(t, "model", "promote", "gpu", "--api", url(node), "--sha256", sha[:8], "--reason", "the test says so")
	judgesWith := func(version string) func([]forestall.Risk) bool {
		return func(risks []forestall.Risk) bool {
			n := 0
			for _, r := range risks {
				if r.Component.Kind == forestall.KindGPU && r.Model == version {
					n++
				}
			}
			return n == testPlan.nodes*testPlan.gpus
		}
	}
	awaitOn(c, node, "every GPU of the cluster judged by the new champion", (*api.Client).Risks, judgesWith(m.Card.Version))
	s := gpu(awaitOn(c, node, "the former champion in shadow", (*api.Client).Models, func(l []api.ModelStatus) bool { return gpu(l).Trial != nil }))
	if s.SHA256 != sha || !s.Trial.Model.IsZero() {
		t.Errorf("after the promotion: %+v", s)
	}

	// A node whose files are damaged fetches them anew.
	damaged := (node + 1) % testPlan.nodes
	c.killEngine(damaged)
	trees := filepath.Join(c.dir, demoNodeName(damaged), "data", "models", sha, model.TreesFile)
	if err := os.WriteFile(trees, []byte("tree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start(damaged)
	awaitOn(c, damaged, "the champion after a restart with damaged files", (*api.Client).Models, func(l []api.ModelStatus) bool { return gpu(l).SHA256 == sha })
	if m, err := model.Load(filepath.Dir(trees)); err != nil || m.Card.Version == "" {
		t.Errorf("the files are not whole again: %v", err)
	}

	runs(t, "model", "rollback", "gpu", "--api", url(damaged), "--reason", "enough")
	awaitOn(c, damaged, "every GPU judged by the configured model", (*api.Client).Risks, judgesWith(builtinVersion(t)))

	// The same audit on every node.
	var first []forestall.ModelEvent
	for i := range testPlan.nodes {
		events := awaitOn(c, i, "the rollback in the ledger", (*api.Client).ModelEvents, func(l []forestall.ModelEvent) bool { return len(l) == 4 })
		if first == nil {
			first = events
		}
		if d := cmp.Diff(first, events); d != "" {
			t.Errorf("%s remembers otherwise: %s", demoNodeName(i), d)
		}
	}
	var steps []string
	for _, e := range first {
		if e.Model.SHA256 != sha || e.Index == 0 {
			t.Errorf("%+v", e)
		}
		steps = append(steps, string(e.Step)+" by "+e.By)
	}
	leader := first[2].By // another than at the start, if that one gave its place up on a busy machine
	if !slices.Contains([]string{"n1", "n2", "n3"}, leader) {
		t.Errorf("%q had the model run in shadow, which is for a leader to do", leader)
	}
	asked := func(i int) string { return demoNodeName(i) + ", asked for" }
	want := []string{"rolled_back by " + asked(damaged), "promoted by " + asked(node), "shadow by " + leader, "proposed by " + asked(node)}
	if d := cmp.Diff(want, steps); d != "" {
		t.Errorf("the steps (-want +got):\n%s", d)
	}
	if text := runs(t, "model", "history", "--api", url(node)); !strings.Contains(text, "the test says so") {
		t.Errorf("the history lacks the operator's reason:\n%s", text)
	}
}

func (c *testCluster) apiURL(i int) string {
	c.t.Helper()
	cfg, err := engine.LoadConfig(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	return "http://" + cfg.API.Address
}

func builtinVersion(t *testing.T) string {
	t.Helper()
	m, err := (&backtestCmd{Model: "builtin", Kind: "gpu"}).load()
	if err != nil {
		t.Fatal(err)
	}
	return m.Card.Version
}
