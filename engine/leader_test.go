package engine

import (
	"context"
	"testing"

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
	if err := e.propose(t.Context(), "", &migrate.NodeFailed{Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	is(forestall.MemberAlive)
	incidents, err := client.Incidents(t.Context())
	if err != nil || len(incidents) != 1 || incidents[0].End.IsZero() {
		t.Errorf("incidents %+v, %v; want the one of the node, over", incidents, err)
	}
}
