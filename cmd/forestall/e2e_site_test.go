package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/api"
	"github.com/stratoswarm/forestall/engine"
)

// TestE2ESiteLost: with two nodes at one site and one at another, every checkpoint
// that counts outlives the site of the two. While the other site is away checkpoints
// go on, and status says what they are worth.
func TestE2ESiteLost(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster of processes; run without -short")
	}
	const far = 2
	stores := map[string]string{}
	c := startCluster(t, patient, func(c *engine.Config) {
		c.Engine.Zone = "near"
		if c.Engine.Name == demoNodeName(far) {
			c.Engine.Zone = "far"
		}
		stores[c.Engine.Name] = c.FaultTolerance.CheckpointStorage
	})
	awaitOn(c, 0, "all workloads with a checkpoint", (*api.Client).Workloads, settled)
	underSpread := func(s api.Status) bool {
		return slices.ContainsFunc(s.Notes, func(n string) bool { return strings.HasPrefix(n, "under-spread: ") })
	}

	c.killNode(far)
	awaitOn(c, 0, "every workload at the near site", (*api.Client).Workloads, func(l []api.WorkloadStatus) bool {
		return settled(l) && len(workloadsOn(l, demoNodeName(far))) == 0
	})
	awaitOn(c, 0, "the note of checkpoints at one site", (*api.Client).Status, underSpread)
	c.start(far)
	awaitOn(c, 0, "the end of the note", (*api.Client).Status, func(s api.Status) bool { return !underSpread(s) })

	heads := awaitOn(c, 0, "the workloads", (*api.Client).Workloads, settled)
	c.killNode(0)
	c.killNode(1)
	for _, i := range []int{0, 1} {
		if err := os.RemoveAll(filepath.Join(c.dir, demoNodeName(i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range heads {
		if !slices.Contains(w.Head.Replicas, demoNodeName(far)) {
			t.Errorf("the checkpoint of %s counted by %v", w.Name, w.Head.Replicas)
		}
		store, target := stores[demoNodeName(far)], filepath.Join(t.TempDir(), w.Name)
		mustRun(t, "restore", w.Head.ID, "--store", store, "--to", target)
		if names, err := os.ReadDir(target); err != nil || len(names) == 0 {
			t.Errorf("restored of %s: %v, %v", w.Name, names, err)
		}
	}
}
