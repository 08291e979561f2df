package migrate

import (
	"strings"
	"testing"
	"time"
)

func TestLeases(t *testing.T) {
	s := running(t)
	now := 100 * time.Second
	l := NewLeases(10*time.Second, func() time.Duration { return now })
	ask := func(node string, epoch uint64) (ok bool, reason string) {
		s.ledger.View(func(st *State) { ok, reason = l.Grant("a", node, epochOf(epoch), st) })
		return ok, reason
	}
	if ok, reason := ask("n1", 6); ok || !strings.Contains(reason, "not the leader") {
		t.Errorf("before the election: %v %q", ok, reason)
	}
	if expired, left := l.Expired("a", "n1", 6); expired || left != NoEnd {
		t.Errorf("before the election: %v %s", expired, left)
	}
	l.Elected()
	if _, left := l.Expired("a", "n1", 6); left != 11*time.Second {
		t.Errorf("a new leader waits %s, want a term and a tenth", left)
	}
	now += 5 * time.Second
	if ok, reason := ask("n1", 6); !ok {
		t.Error(reason)
	}
	for epoch, node := range map[uint64]string{6: "n2", 5: "n1", 7: "n1"} {
		if ok, reason := ask(node, epoch); ok || !strings.Contains(reason, "granted to n1 in epoch 6") {
			t.Errorf("%s epoch %d: %v %q", node, epoch, ok, reason)
		}
	}
	now += 11*time.Second - 1
	if expired, left := l.Expired("a", "n1", 6); expired || left != 1 {
		t.Errorf("%v %s", expired, left)
	}
	now++
	if expired, _ := l.Expired("a", "n1", 6); !expired {
		t.Error("not expired")
	}

	s.do(act("r", "recover", "a"), &Grant{Migration: "r", Node: "n2", GPUs: []int{0, 1}})
	epoch := s.index
	if ok, _ := ask("n1", 6); ok {
		t.Error("a revoked run is leased")
	}
	if ok, reason := ask("n2", epoch); ok || !strings.Contains(reason, "epoch 6 of a on n1 is not known to be over") {
		t.Errorf("with an earlier holder: %v %q", ok, reason)
	}
	s.do(&Stopped{Workload: "a", Node: "n1", Epoch: 6, How: HowLeaseExpired})
	if ok, reason := ask("n2", epoch); !ok {
		t.Error(reason)
	}
	l.Elected()
	if expired, left := l.Expired("a", "n2", epochOf(epoch)); expired || left != 11*time.Second {
		t.Errorf("elected again: %v %s", expired, left)
	}
	l.Deposed()
	if ok, _ := ask("n2", epoch); ok {
		t.Error("leased by a deposed leader")
	}
}

func TestLeasesWithoutEnd(t *testing.T) {
	l := NewLeases(0, func() time.Duration { return time.Hour })
	l.Elected()
	if expired, left := l.Expired("a", "n1", 6); expired || left != NoEnd {
		t.Errorf("%v %s", expired, left)
	}
	s := running(t)
	s.ledger.View(func(st *State) {
		if ok, reason := l.Grant("a", "n1", 6, st); !ok {
			t.Error(reason)
		}
	})
}
