package migrate

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// TestExecutorSpreadsWhatADeadNodeHeld: all that a node held is recovered at once, and
// each choice knows of the others, though consensus takes its time: no node gets it
// all, no memory is promised twice, and no GPU is asked for in vain.
func TestExecutorSpreadsWhatADeadNodeHeld(t *testing.T) {
	const memory = 10
	var names []string
	c := drill(t, func(c *cluster) {
		c.commit = 10 * time.Millisecond
		c.do(&Join{Name: "n2", GPUs: 8, MemoryBytes: 6 * memory}, &Join{Name: "n3", GPUs: 8, MemoryBytes: 6 * memory})
		fill(c, "g1", "n1", 2, 2)
		fill(c, "g2", "n1", 3, 3)
		fill(c, "g3", "n1", 4, 4)
		names = []string{"a", "g1", "g2", "g3"}
		for i := range 8 {
			w := job(fmt.Sprintf("s%d", i), 0)
			w.Needs.MemoryBytes = memory
			c.do(&Declare{w}, act("start-"+w.Name, forestall.ActionStart, w.Name), &Grant{Migration: "start-" + w.Name, Node: "n1"})
			e := forestall.Epoch(c.index)
			c.do(&Fenced{"start-" + w.Name, e, []string{"n1", "n2"}}, &Done{"start-" + w.Name, e})
			names = append(names, w.Name)
		}
		c.do(&NodeFailed{Name: "n1"})
		for _, name := range names {
			r := act("r-"+name, forestall.ActionRecover, name)
			r.Decision.Component = forestall.Node("n1")
			c.do(r)
		}
	}, func(*cluster) {})
	on := map[string]int{}
	for _, name := range names {
		w := c.ledger.state.Workloads[name]
		if !w.Running {
			t.Errorf("%s does not run: %s", name, c.phase("r-"+name))
		}
		on[w.Node]++
	}
	if d := cmp.Diff(map[string]int{"n2": 6, "n3": 6}, on); d != "" {
		t.Errorf("where it runs: %s", d)
	}
	if len(c.refused) > 0 {
		t.Errorf("%d proposals were refused, the first: %s", len(c.refused), c.refused[0])
	}
	if err := checkState(c.ledger.state); err != nil {
		t.Error(err)
	}
}
