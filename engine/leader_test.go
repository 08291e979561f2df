package engine

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

// TestLeaderThatHadFailedIsBack: a node that the leader before had written off leads
// now. Nobody judges a leader, so it says itself that it is back: else nothing would
// be placed on it, and all that it runs be taken from it, for as long as it leads.
func TestLeaderThatHadFailedIsBack(t *testing.T) {
	t.Parallel()
	client, e, stop := runEngine(t, testConfig(t.TempDir()))
	defer stop()
	is := func(want forestall.MemberState) {
		t.Helper()
		await(t, "the node to be "+string(want), func(ctx context.Context) ([]forestall.Member, error) { return client.Members(ctx) },
			func(l []forestall.Member) bool { return len(l) == 1 && l[0].State == want })
	}
	is(forestall.MemberAlive)
	await(t, "the engine to be ready", func(ctx context.Context) (bool, error) { return e.current.Load(), client.Ready(ctx) }, func(current bool) bool { return current })
	if err := e.propose(t.Context(), "", &migrate.NodeFailed{Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	is(forestall.MemberAlive)
	incidents, err := client.Incidents(t.Context())
	if err != nil || len(incidents) != 1 || incidents[0].End.IsZero() {
		t.Errorf("incidents %+v, %v; want the one of the node, over", incidents, err)
	}
}

// TestFirstStartsWaitForNodes: the first node to join does not get every workload; a
// node that does not come holds them up for a moment only.
func TestFirstStartsWaitForNodes(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	alive := func(names ...string) *migrate.State {
		s := &migrate.State{Nodes: map[string]*migrate.Node{}}
		for _, n := range names {
			s.Nodes[n] = &migrate.Node{Name: n, State: forestall.MemberAlive}
		}
		return s
	}
	for name, c := range map[string]struct {
		nodes []string
		led   time.Duration
		want  bool
	}{
		"one has not joined": {[]string{"n1"}, 0, true},
		"all have":           {[]string{"n1", "n2"}, 0, false},
		"it does not come":   {[]string{"n1"}, 5 * time.Second, false},
	} {
		e := &Engine{nodes: []member{{name: "n1"}, {name: "n2"}}, timing: profileTiming("standard"), leadsSince: now}
		if got := e.joining(alive(c.nodes...), now.Add(c.led)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if (&Engine{timing: profileTiming("standard"), leadsSince: now}).joining(alive("n1"), now) {
		t.Error("an engine that is alone waits")
	}
}

// TestLapsedLeaseByASlowerClock: the leader that confirmed a run was an hour ahead and
// is gone. That the run's lease has run out since is answered now, not in an hour.
func TestLapsedLeaseByASlowerClock(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newWatched(t, watchedConfig(t.TempDir()), now)
	defer w.close()
	var boot time.Duration
	w.leases = migrate.NewLeases(3*time.Second, func() time.Duration { return boot })
	w.leases.Elected()
	s := oneRun(t, now.Add(time.Hour)).State()
	if got := w.lapsed(&s, now); len(got) > 0 {
		t.Errorf("lapsed within its lease: %+v", got)
	}
	boot = 4 * time.Second
	_, ds := w.policy.Decide(migrate.PolicyState{}, migrate.Evidence{Now: now, Ledger: &s, Failures: w.lapsed(&s, now)})
	if len(ds) != 1 || ds[0].Action != forestall.ActionRecover || !strings.Contains(strings.Join(ds[0].Reasons, "\n"), "the lease of epoch 4 ran out") {
		t.Errorf("decisions %+v; want a recovery", ds)
	}
}

// TestReportWithAnOddFailure: a failure that no ledger takes, as of an engine that is
// newer than the leader's, is dropped with a word. The report that it came with counts:
// else the node would send it again for ever, and nothing more be heard of its risks.
func TestReportWithAnOddFailure(t *testing.T) {
	t.Parallel()
	client, e, stop := runEngine(t, testConfig(t.TempDir()))
	defer stop()
	await(t, "the engine to be ready", func(ctx context.Context) (bool, error) { return true, client.Ready(ctx) }, func(bool) bool { return true })
	odd := forestall.Failure{Component: forestall.GPU("n2", 0), Kind: "melted", Time: e.now()}
	risk := forestall.Risk{Component: forestall.GPU("n2", 1), Time: e.now(), Grade: forestall.Suspect, Probability: 0.5}
	_, err := e.takeReport(t.Context(), report{
		Self: migrate.Join{Name: "n2", Address: "n2:1", GPUs: 2}, Scored: 1, Risks: []forestall.Risk{risk}, Failures: []failureReport{{Failure: odd}},
	})
	if err != nil {
		t.Errorf("the report is not taken: %v", err)
	}
	if got := e.reports.risks(e.now(), time.Minute); !slices.ContainsFunc(got, func(r forestall.Risk) bool { return r.Component == risk.Component }) {
		t.Errorf("its risks don't count: %+v", got)
	}
}

// TestProposalToALeaderThatEnds: a leader that is being stopped takes nothing any more,
// which is no refusal: the next one is asked. Else the end of a run, or a workload that
// is declared, would be lost whenever a leader is restarted.
func TestProposalToALeaderThatEnds(t *testing.T) {
	w := newWatched(t, watchedConfig(t.TempDir()), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	defer w.close()
	b, err := migrate.Encode("", w.now, &migrate.Join{Name: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.node.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = w.proposeHere(t.Context(), proposal{b})
	if err == nil || !mayRetry(newPeerError(err)) {
		t.Errorf("who proposes gives up: %v", err)
	}
}
