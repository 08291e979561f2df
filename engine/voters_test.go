package engine

import (
	"testing"

	"github.com/stratoswarm/forestall"
)

// TestNoQuorumNote: without a quorum the voters that are away are named.
func TestNoQuorumNote(t *testing.T) {
	const note = "no quorum is heard from: workloads, migrations and incidents are as they were last agreed on"
	seen := map[string]forestall.MemberState{"n1": forestall.MemberAlive, "n3": forestall.MemberFailed, "n4": forestall.MemberFailed}
	for want, voters := range map[string][]string{
		note + "; voters that do not answer: n2, n3 (of 3)": {"n3", "n1", "n2"},
		note: {"n1"},
	} {
		if got := noQuorumNote(voters, seen); got != want {
			t.Errorf("%v: %q, want %q", voters, got, want)
		}
	}
}
