package migrate

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// fill has another workload take the node's GPUs from one index to another.
func fill(c *cluster, name, node string, from, to int) {
	var gpus []int
	for g := from; g <= to; g++ {
		gpus = append(gpus, g)
	}
	id := "start-" + name
	c.do(&Declare{job(name, len(gpus))}, act(id, forestall.ActionStart, name), &Grant{Migration: id, Node: node, GPUs: gpus})
	e := forestall.Epoch(c.index)
	c.do(&Fenced{id, e, []string{"n1", "n2"}}, &Done{id, e})
}

// With every other node full, a move waits for as long as it takes, says why,
// and goes on once there is room.
func TestExecutorWaitsForRoom(t *testing.T) {
	lost := act("r", forestall.ActionRecover, "a")
	lost.Decision.Component = forestall.Node("n1")
	broken := act("m", forestall.ActionMigrate, "a")
	broken.Decision.Component = forestall.GPU("n1", 0)
	gpuGone := &FailureSeen{Failure: forestall.Failure{Component: forestall.GPU("n1", 0), Kind: forestall.GPUFailure}}
	const full = "proposed waiting: no node can take it: a: n1: failed; n2: 1 of 2 GPUs free; n3: 0 of 2 GPUs free"
	for name, c := range map[string]struct {
		prep    func(*cluster)
		id      string
		waiting string
		for_    time.Duration
		room    []Command // what ends the wait
		want    string
		calls   []string // without the stop of what made room
	}{
		"recovery, another workload ends": {
			prep: func(c *cluster) { c.do(&NodeFailed{Name: "n1"}, lost) }, id: "r", waiting: full, for_: 20 * time.Minute,
			room: []Command{&Retire{"c"}}, want: "done n3", calls: []string{"fence", "start n3"},
		},
		"recovery, a node joins": {
			prep: func(c *cluster) { c.do(&NodeFailed{Name: "n1"}, lost) }, id: "r", waiting: full, for_: time.Hour,
			room: []Command{&Join{Name: "n4", GPUs: 8}}, want: "done n4", calls: []string{"fence", "start n4"},
		},
		"recovery, the new target cannot start it: its time begins with it": {
			prep: func(c *cluster) {
				c.do(&NodeFailed{Name: "n1"}, lost)
				c.fail["start n4"] = errors.New("disk full")
			}, id: "r", waiting: full, for_: 20 * time.Minute,
			room:  []Command{&Join{Name: "n4", GPUs: 8}, &Join{Name: "n5", GPUs: 8}},
			want:  "done n5 n4 could not start it: disk full",
			calls: []string{"fence", "start n4", "start n4", "start n4", "fence", "start n5"},
		},
		"recovery, the node is back and its run goes on": {
			prep: func(c *cluster) { c.do(&NodeFailed{Name: "n1"}, lost) }, id: "r", waiting: full, for_: 10 * time.Second,
			room: []Command{&NodeBack{"n1"}},
			want: "aborted node n1 is back before another could take it, and its run has not ended",
		},
		"recovery, the node is back and its run is over": {
			prep: func(c *cluster) { c.do(&NodeFailed{Name: "n1"}, lost) }, id: "r", waiting: full, for_: 10 * time.Second,
			room: []Command{&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowExited}, &NodeBack{"n1"}},
			want: "done n1", calls: []string{"fence", "start n1"},
		},
		"first start": {
			prep: func(c *cluster) { c.do(&Declare{job("d", 7)}, act("s", forestall.ActionStart, "d")) }, id: "s",
			waiting: "proposed waiting: no node can take it: d: n1: 6 of 7 GPUs free; n2: 1 of 7 GPUs free; n3: 0 of 7 GPUs free", for_: time.Hour,
			room: []Command{&Retire{"c"}}, want: "done n3", calls: []string{"fence", "start n3"},
		},
		"away from a GPU that has failed: it is not made to stand still for nothing": {
			prep: func(c *cluster) { fill(c, "d", "n1", 2, 7); c.do(gpuGone, broken) }, id: "m",
			waiting: "proposed waiting: no node can take it: a: n1: 1 of 2 GPUs free, 1 failed; n2: 1 of 2 GPUs free; n3: 0 of 2 GPUs free", for_: time.Minute,
			room: []Command{&Retire{"c"}}, want: "done n3", calls: []string{"save n1", "fence", "start n3 final-m"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			prep := func(cl *cluster) {
				fill(cl, "b", "n2", 0, 6)
				fill(cl, "c", "n3", 0, 7)
				c.prep(cl)
			}
			got := drill(t, prep, func(cl *cluster) {
				time.Sleep(c.for_)
				synctest.Wait()
				if phase := cl.phase(c.id); phase != c.waiting {
					t.Errorf("got  %s\nwant %s", phase, c.waiting)
				}
				if len(cl.calls) > 0 {
					t.Errorf("it doesn't just wait: %v", cl.calls)
				}
				cl.enact(c.room...)
			})
			if phase := got.phase(c.id); phase != c.want {
				t.Errorf("got  %s\nwant %s", phase, c.want)
			}
			if d := cmp.Diff(c.calls, withoutEpochs(got.calls, "stop n3")); d != "" {
				t.Error(d)
			}
			if err := checkState(got.ledger.state); err != nil {
				t.Error(err)
			}
		})
	}
}

// withoutEpochs cuts the epochs off stops and leaves out those of a node.
func withoutEpochs(calls []string, but string) (out []string) {
	for _, c := range calls {
		f := strings.Fields(c)
		if f[0] == "stop" {
			f = f[:2]
		}
		if c = strings.Join(f, " "); c != but {
			out = append(out, c)
		}
	}
	return out
}

// A wait costs the log one entry, or two a minute while its reason changes.
func TestExecutorWaitsQuietly(t *testing.T) {
	r := act("r", forestall.ActionRecover, "a")
	r.Decision.Component = forestall.Node("n1")
	var before, during uint64
	c := drill(t, func(c *cluster) {
		fill(c, "b", "n2", 0, 6)
		fill(c, "c", "n3", 0, 7)
		c.do(&NodeFailed{Name: "n1"}, r)
		before = c.index
	}, func(c *cluster) {
		time.Sleep(time.Hour)
		synctest.Wait()
		during = c.index - before
		for range 60 { // the reason changes every second
			c.enact(&NodeFailed{Name: "n3"})
			time.Sleep(500 * time.Millisecond)
			c.enact(&NodeBack{"n3"})
			time.Sleep(500 * time.Millisecond)
		}
	})
	if during != 1 {
		t.Errorf("%d entries in an hour of the same reason", during)
	}
	if changing := c.index - before - during - 120; changing > 3 {
		t.Errorf("%d entries in a minute of changing reasons", changing)
	}
}

// A granted move whose target is lost does not wait for ever: its workload
// runs nowhere, and another recovery looks at everything anew.
func TestExecutorGivesUpAGrantWithoutATarget(t *testing.T) {
	r := act("r", forestall.ActionRecover, "a")
	r.Decision.Component = forestall.Node("n1")
	c := drill(t, func(c *cluster) {
		fill(c, "c", "n3", 0, 7)
		c.hang["start n2"] = true
		c.do(&NodeFailed{Name: "n1"}, r)
	}, func(c *cluster) {
		time.Sleep(time.Second)
		c.enact(&NodeFailed{Name: "n2"})
		time.Sleep(time.Second)
		synctest.Wait()
		want := "granted n2 waiting: n2 could not start it: node n2 is failed; no node can take it: a: n1: failed; n2: failed; n3: 0 of 2 GPUs free"
		if phase := c.phase("r"); !strings.HasSuffix(phase, want[len("granted"):]) {
			t.Errorf("got  %s\nwant %s", phase, want)
		}
	})
	if got, want := c.phase("r"), "aborted n2 gave up: recovery_timeout 5m has passed; n2 could not start it: node n2 is failed"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
