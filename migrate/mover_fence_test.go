package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestFenceSaysWhyItWaits: a start whose fence does not come about says so in the
// ledger, not in the leader's log alone; once it has come about the note says that it
// is over.
func TestFenceSaysWhyItWaits(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no quorum":                    {errors.New("n2: no answer; n3: no answer"), "n2: no answer; n3: no answer"},
		"a store of an earlier ledger": {fmt.Errorf("%w: fenced at 26", forestall.ErrStaleEpoch), "another fault_tolerance.checkpoint_storage"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			job := forestall.Workload{Name: "a", Kind: forestall.KindAgent, Command: []string{"a"}, StateDir: "/state/a", Hook: forestall.Hook{Kind: forestall.HookNone}}
			s.do(
				&Join{Name: "n1"}, &Declare{Workload: job},
				&Propose{Decision: forestall.Decision{ID: "m", Action: forestall.ActionStart, Mode: forestall.Act, Component: job.Component(), Workload: "a"}},
				&Grant{Migration: "m", Node: "n1"},
			)
			cfg := DefaultExecutorConfig()
			m := &mover{workload: "a", cfg: &cfg}
			now := s.now
			next := func() deed { return m.next(s.ledger.state, surroundings{now: now}) }
			note := func() string { return s.ledger.state.Open["m"].Note }
			for range cfg.StepAttempts {
				d := next()
				if d.call == nil {
					t.Fatalf("%+v instead of the question for a fence", d)
				}
				m.called(d.call, nil, c.err, now)
				now = now.Add(time.Minute)
			}
			d := next()
			if d.command == nil {
				t.Fatalf("after %d attempts in vain nothing is noted", cfg.StepAttempts)
			}
			s.do(d.command)
			if !strings.HasPrefix(note(), waiting) || !strings.Contains(note(), c.want) {
				t.Errorf("it waits, and the note is %q", note())
			}
			if d = next(); d.call == nil {
				t.Fatalf("%+v instead of another attempt", d)
			}
			m.called(d.call, []string{"n1"}, nil, now)
			s.do(next().command)
			if !strings.HasPrefix(note(), waited) || !strings.Contains(note(), c.want) {
				t.Errorf("it waited, and the note is %q", note())
			}
			s.do(next().command)
			if phase := s.ledger.state.Open["m"].Phase; phase != forestall.PhaseStopped { // there was no run before
				t.Errorf("the phase is %s", phase)
			}
		})
	}
}
