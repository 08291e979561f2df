package migrate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/workload"
)

func TestStartCause(t *testing.T) {
	for want, err := range map[string]error{
		`command "train": not found in PATH`:                fmt.Errorf("%w on n1: workload %q %w: command %q: not found in PATH", ErrWorkload, "a", workload.ErrWorkload, "train"),
		"cannot start: the second one is the command's own": fmt.Errorf("node n1: %w on n1: workload %q %w: cannot start: the second one is the command's own", ErrWorkload, "a", workload.ErrWorkload),
		"a: state_dir: /etc is not for state":               fmt.Errorf("%w: a: state_dir: /etc is not for state", ErrWorkload),
		"connection refused":                                errors.New("node n1: connection refused"),
		"node n2: cannot start: not for us":                 errors.New("node n2: cannot start: not for us"),
	} {
		if got := startCause("n1", err); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestAgreed(t *testing.T) {
	both := []string{"n1", "n3"}
	for name, c := range map[string]struct{ evidence, observers, want []string }{
		"named":           {[]string{"2 of 3 voters report it failed: n1, n3"}, both, []string{"2 of 3 voters report it failed: n1, n3"}},
		"named in two":    {[]string{"n1: no answer", "n3: no answer"}, both, []string{"n1: no answer", "n3: no answer"}},
		"one is not":      {[]string{"n1: no answer"}, both, []string{"n1: no answer", "agreed by n1, n3"}},
		"another's name":  {[]string{"reported by n10, n3"}, both, []string{"reported by n10, n3", "agreed by n1, n3"}},
		"no evidence":     {nil, both, []string{"agreed by n1, n3"}},
		"nobody observed": {[]string{"silent"}, nil, []string{"silent"}},
	} {
		if d := cmp.Diff(c.want, agreed(c.evidence, c.observers)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// What a lost node's workloads are recovered for: who agrees is said once.
func TestNodeFailureIsToldOnce(t *testing.T) {
	s := running(t)
	const vote = "2 of 3 voters report it failed: n2, n3"
	s.do(&NodeFailed{Name: "n1", Evidence: []string{vote}, Observers: []string{"n2", "n3"}})
	if i, _ := s.ledger.state.Incident(forestall.Node("n1")); !cmp.Equal(i.Evidence, []string{vote}) {
		t.Errorf("evidence %q", i.Evidence)
	}
	_, ds := actingPolicy(t).Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state})
	if len(ds) != 1 || !cmp.Equal(ds[0].Reasons, []string{"node n1 failed", vote}) {
		t.Errorf("decisions %+v", ds)
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		"exactly ten":                        "exactly ten",
		"stat /a/long/path: no such file":    "stat … file",
		strings.Repeat("ä", 6) + "bcdefghij": "äääää…fghij",
	} {
		if got := clip(in, 11); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}

// However often a workload is given up, an operator reads the newest cause,
// once, and waits longer each time.
func TestGivingUpAgainAndAgain(t *testing.T) {
	s := running(t)
	p := actingPolicy(t)
	s.do(&FailureSeen{forestall.Failure{Component: forestall.Agent("a"), Kind: forestall.AgentFailure, Evidence: []string{"exited with status 1"}}, 6})
	s.do(&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowExited})
	var pauses []time.Duration
	for round := range 5 {
		ended := s.now
		var ds []forestall.Decision
		for len(ds) == 0 {
			_, ds = p.Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state})
			if len(ds) == 0 {
				s.now = s.now.Add(time.Second)
			}
		}
		pauses = append(pauses, s.now.Sub(ended))
		d := ds[0]
		want := []string{"agent/a failed in epoch 6", "exited with status 1"}
		if round > 0 {
			want = []string{fmt.Sprintf("the last try was given up: cannot start: %s (3 attempts; last tried on n2)", clip(missing(round-1), maxCause))}
		}
		if diff := cmp.Diff(want, d.Reasons); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		for _, r := range d.Reasons {
			if n := utf8.RuneCountInString(r); n > maxSentence {
				t.Errorf("round %d: a reason of %d characters: %s", round, n, r)
			}
		}
		why := ownFault("n2", fmt.Errorf("%w on n2: workload %q %w: %s", ErrWorkload, "a", workload.ErrWorkload, missing(round)), attempts(3), p.RetryAfter(s.workload("a").Tries+2))
		s.do(&Propose{d}, &Grant{Migration: d.ID, Node: "n2", GPUs: []int{0, 1}}, &GiveUp{d.ID, why})
		i, _ := s.ledger.state.Incident(forestall.Agent("a"))
		if diff := cmp.Diff([]string{"exited with status 1", "gave up: " + why}, i.Evidence); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		if said := fmt.Sprintf("; mend it, then declare it anew or wait for the next try, %s after this one", span(p.RetryAfter(s.workload("a").Tries))); !strings.HasSuffix(s.workload("a").GaveUp, said) {
			t.Errorf("round %d: %q does not end in %q", round, s.workload("a").GaveUp, said)
		}
	}
	want := []time.Duration{0, 2 * time.Second, 8 * time.Second, 32 * time.Second, 128 * time.Second}
	if d := cmp.Diff(want, pauses); d != "" {
		t.Error(d)
	}
	s.do(&Declare{job("a", 2)}) // mended
	if _, ds := p.Decide(PolicyState{}, Evidence{Now: s.now, Ledger: s.ledger.state}); len(ds) != 1 {
		t.Errorf("declared anew, it is not tried at once: %+v", ds)
	}
}

// missing is a long cause, another one in each round.
func missing(round int) string {
	return fmt.Sprintf("stat /%s%d: no such file or directory", strings.Repeat("long/", 60), round)
}
