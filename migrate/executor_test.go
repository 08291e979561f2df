package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/workload"
)

// cluster is Nodes and consensus for an executor: what it is told to break
// breaks, everything else works at once.
type cluster struct {
	*script
	leases *Leases
	reg    *prometheus.Registry

	commit  time.Duration // how long consensus takes
	refused []string      // what the ledger refused

	mu    sync.Mutex
	calls []string
	fail  map[string]error         // "start n2": what that call answers
	hang  map[string]bool          // calls that answer when they are broken off
	slow  map[string]time.Duration // how long a call takes
	used  map[forestall.Epoch]bool // by failed starts, which use their epoch up; nil: they don't
}

func (c *cluster) say(ctx context.Context, call string) error {
	c.mu.Lock()
	c.calls = append(c.calls, call)
	hang, slow, err := c.hang[call], c.slow[call], c.fail[call]
	c.mu.Unlock()
	time.Sleep(slow) // virtual
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (c *cluster) Save(ctx context.Context, node, workload string, epoch forestall.Epoch, migration string) (forestall.Checkpoint, error) {
	err := c.say(ctx, "save "+node)
	return forestall.Checkpoint{ID: "final-" + migration, Workload: workload, Epoch: epoch, Sequence: 9}, err
}

func (c *cluster) Resume(ctx context.Context, node, _ string, _ forestall.Epoch, _ string) error {
	return c.say(ctx, "resume "+node)
}

func (c *cluster) Fence(ctx context.Context, _ string, _ forestall.Epoch) ([]string, error) {
	return []string{"n1", "n2"}, c.say(ctx, "fence")
}

func (c *cluster) Stop(ctx context.Context, node, _ string, upTo forestall.Epoch, _ string) error {
	return c.say(ctx, fmt.Sprintf("stop %s %d", node, upTo))
}

func (c *cluster) Start(ctx context.Context, node string, o StartOrder) error {
	err := c.say(ctx, strings.TrimSpace("start "+node+" "+o.Checkpoint))
	if err != nil && c.used != nil {
		if c.used[o.Epoch] {
			return fmt.Errorf("epoch %d was launched here before: %w", o.Epoch, forestall.ErrStaleEpoch)
		}
		c.used[o.Epoch] = true
	}
	return err
}

func (c *cluster) propose(_ context.Context, cmd []byte) (uint64, any, error) {
	time.Sleep(c.commit) // virtual
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index++
	value := c.ledger.Apply(c.index, cmd)
	if err, no := value.(error); no {
		c.refused = append(c.refused, err.Error())
	}
	return c.index, value, nil
}

// enact applies a command beside the executor.
func (c *cluster) enact(cs ...Command) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = time.Now()
	c.do(cs...)
}

// phase returns how a migration stands and why.
func (c *cluster) phase(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, _ := c.ledger.state.Migration(id)
	return strings.Join(strings.Fields(string(m.Phase)+" "+m.To+" "+m.Note), " ")
}

// drill runs an executor over three nodes with workload a on n1 in epoch 6.
func drill(t *testing.T, prep func(*cluster), during func(*cluster)) *cluster {
	c := &cluster{fail: map[string]error{}, hang: map[string]bool{}, slow: map[string]time.Duration{}, reg: prometheus.NewRegistry()}
	synctest.Test(t, func(t *testing.T) {
		c.script = running(t)
		began := time.Now()
		c.leases = NewLeases(10*time.Second, func() time.Duration { return time.Since(began) })
		c.leases.Elected()
		prep(c)
		cfg := DefaultExecutorConfig()
		cfg.Registerer = c.reg
		e, err := NewExecutor(c.ledger, c.propose, c, c.leases, cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- e.Run(ctx) }()
		synctest.Wait()
		during(c)
		time.Sleep(10 * time.Minute) // virtual
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestExecutor(t *testing.T) {
	boom := errors.New("connection refused")
	nothing := func(*cluster) {}
	recover1 := act("r", forestall.ActionRecover, "a")
	recover1.Decision.Component = forestall.Node("n1")
	migrate1 := act("m", forestall.ActionMigrate, "a")
	migrate1.Decision.Component = forestall.GPU("n1", 0)
	migrate1.Decision.To = "n2"
	gpuGone := &FailureSeen{Failure: forestall.Failure{Component: forestall.GPU("n1", 0), Kind: forestall.GPUFailure}}
	for name, c := range map[string]struct {
		prep   func(*cluster)
		during func(*cluster)
		id     string
		want   string // phase, target, note
		calls  []string
	}{
		"migration": {
			prep: func(c *cluster) { c.do(migrate1) }, id: "m", want: "done n2",
			calls: []string{"save n1", "fence", "stop n1 6", "start n2 final-m"},
		},
		"source cannot be reached: its lease runs out": {
			prep: func(c *cluster) { c.do(&NodeFailed{Name: "n1"}, recover1); c.hang["stop n1 6"] = true }, id: "r", want: "done n2",
			calls: []string{"fence", "stop n1 6", "stop n1 6", "start n2"}, // an attempt takes 10 s, the lease 11
		},
		"nobody says why it stopped: elsewhere first": {
			prep: func(c *cluster) {
				c.do(&Head{forestall.Checkpoint{ID: "c", Workload: "a", Epoch: 6, Replicas: []string{"n1"}}}, act("r", forestall.ActionRecover, "a"))
			}, id: "r", want: "done n2",
			calls: []string{"fence", "stop n1 6", "start n2 c"},
		},
		"nobody says why it stopped, and there is no other node": {
			prep: func(c *cluster) {
				c.do(&Leave{"n2"}, &Leave{"n3"}, act("r", forestall.ActionRecover, "a"))
			}, id: "r", want: "done n1",
			calls: []string{"fence", "stop n1 6", "start n1"},
		},
		"a failing GPU, no target named: another node": {
			prep: func(c *cluster) {
				m := act("m", forestall.ActionMigrate, "a")
				m.Decision.Component = forestall.GPU("n1", 0)
				c.do(m)
			}, id: "m", want: "done n2",
			calls: []string{"save n1", "fence", "stop n1 6", "start n2 final-m"},
		},
		"no final checkpoint on a healthy source: nothing moves": {
			prep: func(c *cluster) { c.fail["save n1"] = boom; c.do(migrate1) }, id: "m", want: "aborted n2 no final checkpoint: connection refused",
			calls: []string{"save n1", "save n1", "save n1", "resume n1"},
		},
		"no final checkpoint and the GPU has failed: goes on": {
			prep: func(c *cluster) { c.fail["save n1"] = boom; c.do(gpuGone, migrate1) }, id: "m", want: "done n2 no final checkpoint: connection refused",
			calls: []string{"save n1", "fence", "stop n1 6", "start n2"},
		},
		"source dies while it saves": {
			prep: func(c *cluster) { c.hang["save n1"] = true; c.hang["stop n1 6"] = true; c.do(migrate1) },
			during: func(c *cluster) {
				time.Sleep(time.Second)
				c.enact(&NodeFailed{Name: "n1"})
			},
			id: "m", want: "done n2 no final checkpoint: a does not run on a node that answers",
			calls: []string{"save n1", "fence", "stop n1 6", "start n2"},
		},
		"target cannot start: the next one": {
			prep: func(c *cluster) { c.fail["start n2 final-m"] = boom; c.do(migrate1) }, id: "m",
			want:  "done n3 n2 could not start it: connection refused",
			calls: []string{"save n1", "fence", "stop n1 6", "start n2 final-m", "start n2 final-m", "start n2 final-m", "fence", "stop n2 11", "start n3 final-m"},
		},
		"stale epoch: the next one at once": {
			prep: func(c *cluster) {
				c.fail["start n2"] = fmt.Errorf("floor: %w", forestall.ErrStaleEpoch)
				c.do(&NodeFailed{Name: "n1"}, recover1)
			}, id: "r",
			want:  "done n3 n2 could not start it: floor: stale epoch",
			calls: []string{"fence", "stop n1 6", "start n2", "fence", "stop n2 11", "start n3"},
		},
		"target dies while it starts": {
			prep: func(c *cluster) { c.hang["start n2"] = true; c.do(&NodeFailed{Name: "n1"}, recover1) },
			during: func(c *cluster) {
				time.Sleep(time.Second)
				c.enact(&NodeFailed{Name: "n2"})
			},
			id: "r", want: "done n3 n2 could not start it: node n2 is failed",
			calls: []string{"fence", "stop n1 6", "start n2", "fence", "stop n2 11", "start n3"},
		},
		"nobody can start it": {
			prep: func(c *cluster) {
				for _, n := range []string{"n1", "n2", "n3"} {
					c.fail["start "+n] = fmt.Errorf("no such command: %w", ErrWorkload)
				}
				c.do(act("r", forestall.ActionRecover, "a"))
			}, id: "r",
			want:  "aborted n2 gave up: cannot start: no such command: workload cannot be started (3 attempts; last tried on n2); mend it, then declare it anew or wait for the next try, 2s after this one",
			calls: []string{"fence", "stop n1 6", "start n2", "fence", "stop n2 10", "start n3", "fence", "stop n3 13", "start n2", "stop n2 16"},
		},
		"its own fault on the only node: each epoch is asked for once, the cause stays": {
			prep: func(c *cluster) {
				c.used = map[forestall.Epoch]bool{}
				c.fail["start n1"] = fmt.Errorf("%w on n1: workload \"a\" %w: stat /x/y: no such file or directory", ErrWorkload, workload.ErrWorkload)
				c.do(&Leave{"n2"}, &Leave{"n3"}, act("r", forestall.ActionRecover, "a"))
			}, id: "r",
			want:  "aborted n1 gave up: cannot start: stat /x/y: no such file or directory (3 attempts; last tried on n1); mend it, then declare it anew or wait for the next try, 2s after this one",
			calls: []string{"fence", "stop n1 6", "start n1", "fence", "stop n1 12", "start n1", "fence", "stop n1 15", "start n1", "stop n1 18"},
		},
		"a fault of the only node that uses the epoch up: the cause stays": {
			prep: func(c *cluster) {
				c.used = map[forestall.Epoch]bool{}
				c.fail["start n1"] = errors.New("node n1: no space left on device")
				c.do(&Leave{"n2"}, &Leave{"n3"}, act("r", forestall.ActionRecover, "a"))
			}, id: "r",
			want:  "aborted n1 gave up: 3 attempts; n1 could not start it: no space left on device",
			calls: []string{"fence", "stop n1 6", "start n1", "start n1", "fence", "stop n1 12", "start n1", "start n1", "fence", "stop n1 15", "start n1", "start n1", "stop n1 18"},
		},
		"a new leader finds the epoch used up: what the ledger knows stays": {
			prep: func(c *cluster) {
				c.fail["start n3"] = fmt.Errorf("floor: %w", forestall.ErrStaleEpoch)
				c.do(&NodeFailed{Name: "n1"}, recover1, &Grant{Migration: "r", Node: "n2", GPUs: []int{0, 1}},
					&Retry{Migration: "r", Attempt: 2, Node: "n3", GPUs: []int{0, 1}, Note: "n2 could not start it: disk full"})
			}, id: "r",
			want:  "done n2 n2 could not start it: disk full",
			calls: []string{"fence", "stop n1 6", "stop n2 11", "start n3", "fence", "stop n3 12", "start n2"},
		},
		"it exits at once": {
			prep: func(c *cluster) { c.hang["start n2"] = true; c.do(&NodeFailed{Name: "n1"}, recover1) },
			during: func(c *cluster) {
				time.Sleep(time.Second)
				exit := &FailureSeen{forestall.Failure{Component: forestall.Agent("a"), Kind: forestall.AgentFailure, Evidence: []string{"exited with status 3"}}, 11}
				c.enact(exit, &Stopped{Workload: "a", Node: "n2", Epoch: 11, How: HowExited})
			}, id: "r",
			want:  "done n3 n2 could not start it: the run ended before it was confirmed: exited with status 3",
			calls: []string{"fence", "stop n1 6", "start n2", "fence", "start n3"},
		},
		"retired": {
			prep:  func(c *cluster) { c.do(migrate1, &Retire{"a"}) },
			id:    "m",
			want:  "aborted n2 the workload was retired",
			calls: []string{"stop n1 6"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.during == nil {
				c.during = nothing
			}
			got := drill(t, c.prep, c.during)
			if phase := got.phase(c.id); phase != c.want {
				t.Errorf("got  %s\nwant %s", phase, c.want)
			}
			if d := cmp.Diff(c.calls, got.calls); d != "" && c.calls != nil {
				t.Error(d)
			}
			if err := checkState(got.ledger.state); err != nil {
				t.Error(err)
			}
			for name := range got.ledger.state.Workloads {
				if st := Next(got.ledger.state, name); st.Kind != StepNone {
					t.Errorf("left undone: %+v", st)
				}
			}
		})
	}
}

func TestExecutorWaitsForTheLease(t *testing.T) {
	r := act("r", forestall.ActionRecover, "a")
	r.Decision.Component = forestall.Node("n1")
	c := drill(t, func(c *cluster) {
		c.hang["stop n1 6"] = true
		c.do(&NodeFailed{Name: "n1"}, r)
	}, func(c *cluster) {
		time.Sleep(11*time.Second - time.Millisecond) // a term and a tenth after the election
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if slices.Contains(c.calls, "start n2") {
			t.Error("started before the lease of n1 had run out")
		}
	})
	if !slices.Contains(c.calls, "start n2") {
		t.Errorf("never started: %v", c.calls)
	}
}

func TestExecutorMetrics(t *testing.T) {
	r := act("r", forestall.ActionRecover, "a")
	r.Decision.Component = forestall.Node("n1")
	r.Decision.Price = forestall.Price{Saves: 40, Costs: 10}
	c := drill(t, func(c *cluster) { c.do(&NodeFailed{Name: "n1"}, r) }, func(*cluster) {})
	families, err := c.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()) + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"fault_tolerance_recoveries_total aborted":                           0,
		"fault_tolerance_recoveries_total gave_up":                           0,
		"fault_tolerance_recoveries_total success":                           1,
		"fault_tolerance_recovery_duration_seconds":                          1,
		"fault_tolerance_migrations_total recover done":                      1,
		"fault_tolerance_migration_pause_seconds recover":                    1,
		"fault_tolerance_action_estimated_savings_gpu_seconds_total recover": 40,
		"fault_tolerance_action_estimated_costs_gpu_seconds_total recover":   10,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreakers(BreakerConfig{Failures: 5, Reset: time.Minute, HalfOpen: 3})
		fail := func(n int, err error) {
			for range n {
				if err := b.enter("n1"); err != nil {
					t.Fatal(err)
				}
				b.leave("n1", err)
			}
		}
		fail(10, fmt.Errorf("exits: %w", ErrWorkload))
		for range 4 { // asked again, it calls the epoch stale that the failure used up
			fail(1, errors.New("refused"))
			fail(1, forestall.ErrStaleEpoch)
		}
		if why := b.tripped("n1"); why != "" {
			t.Errorf("tripped early: %s", why)
		}
		fail(1, errors.New("refused"))
		if why := b.tripped("n1"); why != "circuit open for another 1m after 5 failed starts" {
			t.Errorf("tripped: %q", why)
		}
		if b.tripped("n2") != "" || b.enter("n1") == nil {
			t.Error("the wrong node is passed over")
		}
		time.Sleep(time.Minute)
		if why := b.tripped("n1"); why != "" {
			t.Errorf("still tripped: %s", why)
		}
		fail(3, nil)
		fail(4, errors.New("refused"))
		if why := b.tripped("n1"); why != "" {
			t.Errorf("closed again and tripped early: %s", why)
		}
	})
}

func TestExecutorConfigNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*ExecutorConfig){
		"recovery_strategy: strategy \"best\" is not one of fastest_node, load_balanced, lowest_risk": func(c *ExecutorConfig) { c.RecoveryStrategy = "best" },
		"[migration] strategy":  func(c *ExecutorConfig) { c.MigrationStrategy = "" },
		"recovery_timeout":      func(c *ExecutorConfig) { c.RecoveryTimeout = 0 },
		"max_recovery_attempts": func(c *ExecutorConfig) { c.MaxAttempts = 0 },
		"failure_threshold":     func(c *ExecutorConfig) { c.Breaker.Failures = 0 },
		"longest backoff":       func(c *ExecutorConfig) { c.BackoffMax = 1 },
	} {
		cfg := DefaultExecutorConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
