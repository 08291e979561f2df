package migrate

import (
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// calm returns a world without faults in which the workload runs.
func calm(t *testing.T, seed uint64) *world {
	t.Helper()
	w := newWorld(seed)
	w.runUntil(2 * time.Second)
	if err := w.settled(); err != nil {
		t.Fatalf("seed %d: before anything happened: %v\n%s", seed, err, strings.Join(w.notes, "\n"))
	}
	return w
}

func (w *world) state() State {
	w.catchUp(w.leader)
	return w.leader.ledger.State()
}

// TestModelMove follows one migration without a fault.
func TestModelMove(t *testing.T) {
	w := calm(t, 1)
	source := w.state().Workloads["w"].Node
	w.migrate()
	w.runUntil(w.now + time.Second)
	if err := w.settled(); err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(w.notes, "\n"))
	}
	s := w.state()
	m := s.Closed[len(s.Closed)-1]
	if m.Phase != forestall.PhaseDone || m.From != source || m.To == source || m.Attempt != 1 {
		t.Errorf("migration ended as %+v", m)
	}
	if head := s.Workloads["w"].Head; head == nil || m.Checkpoint != head.ID || head.Epoch >= m.Epoch {
		t.Errorf("started from %q, the final checkpoint is %+v", m.Checkpoint, head)
	}
}

// TestFencingCrashPoints kills one thing at every point of a migration and of
// a recovery: never two copies, and the workload runs again.
func TestFencingCrashPoints(t *testing.T) {
	begin := map[string]func(*world){
		"migration": func(w *world) { w.migrate() },
		"recovery": func(w *world) {
			w.crashMachine(w.node(w.state().Workloads["w"].Node), 3*time.Second)
		},
		"recovery of a run that lives on": func(w *world) {
			w.crashEngine(w.node(w.state().Workloads["w"].Node), 3*time.Second)
		},
	}
	const back = 700 * time.Millisecond
	target := func(w *world) *modelNode {
		s := w.state()
		return w.node(s.Workloads["w"].Node) // the source, until the grant
	}
	victims := map[string]func(*world){
		"leader's engine":       func(w *world) { w.crashEngine(w.leader, back) },
		"leader's machine":      func(w *world) { w.crashMachine(w.leader, back) },
		"newest holder's shim":  func(w *world) { w.crashShim(target(w)) },
		"newest holder engine":  func(w *world) { w.crashEngine(target(w), back) },
		"newest holder machine": func(w *world) { w.crashMachine(target(w), back) },
		"first holder's engine": func(w *world) {
			if h := w.state().Workloads["w"].Holders; len(h) > 0 {
				w.crashEngine(w.node(h[0].Node), back)
			}
		},
		"everything": func(w *world) {
			for _, n := range w.nodes {
				w.crashMachine(n, back)
			}
		},
	}
	for what, start := range begin {
		t.Run(what, func(t *testing.T) {
			for seed := uint64(1); seed <= 2; seed++ {
				undisturbed := calm(t, seed)
				from := undisturbed.steps
				start(undisturbed)
				if err := undisturbed.heal(); err != nil {
					t.Fatalf("seed %d, undisturbed: %v\n%s", seed, err, strings.Join(undisturbed.notes, "\n"))
				}
				until := undisturbed.steps
				for name, kill := range victims {
					for k := from; k < until; k++ {
						w := calm(t, seed)
						w.before = func(step int) {
							if step == k {
								kill(w)
							}
						}
						start(w)
						if err := w.heal(); err != nil {
							t.Fatalf("seed %d: %s dies at point %d of %d: %v\n%s", seed, name, k-from, until-from, err, strings.Join(w.notes, "\n"))
						}
					}
				}
				t.Logf("seed %d: %d victims at each of %d points", seed, len(victims), until-from)
			}
		})
	}
}
