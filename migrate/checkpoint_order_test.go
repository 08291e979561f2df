package migrate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stratoswarm/forestall"
)

// idOf returns a checkpoint's ID named by a hex digit.
func idOf(digit string) string { return strings.Repeat(digit, 64) }

func orderOf(step forestall.CheckpointStep, digit string) *CheckpointOrder {
	return &CheckpointOrder{Step: step, ID: idOf(digit), By: "n1, asked for"}
}

// TestCheckpointOrders: what a recovery needs, what is pinned and what may be
// about to count stays; the entries are the audit.
func TestCheckpointOrders(t *testing.T) {
	s := running(t) // workload a
	epoch := s.workload("a").Epoch
	drop := func(digit string, epoch forestall.Epoch, sequence uint64) *CheckpointOrder {
		o := orderOf(forestall.CheckpointDropped, digit)
		o.Workload, o.Epoch, o.Sequence = "a", epoch, sequence
		return o
	}
	s.do(&Head{forestall.Checkpoint{ID: idOf("2"), Workload: "a", Epoch: epoch, Sequence: 102}})
	s.refuse(ErrNeeded, drop("2", epoch, 102))                            // counts
	s.refuse(ErrNeeded, orderOf(forestall.CheckpointDropped, "2"))        // also if nothing is known of it
	s.refuse(ErrNeeded, drop("3", epoch, 103))                            // may be about to
	s.do(drop("1", epoch, 101), drop("0", epoch-1, 900))                  // are over
	s.do(orderOf(forestall.CheckpointDropped, "f"))                       // damaged, of nobody knows whom
	s.do(orderOf(forestall.CheckpointPinned, "4"))                        //
	s.do(orderOf(forestall.CheckpointPinned, "4"))                        // no second entry
	s.refuse(ErrNeeded, orderOf(forestall.CheckpointDropped, "4"))        // pinned
	s.do(orderOf(forestall.CheckpointUnpinned, "4"), drop("4", epoch, 9)) //
	s.do(act("r", forestall.ActionRecover, "a"))
	s.do(&Grant{Migration: "r", Node: "n2", GPUs: []int{0, 1}})
	s.do(&Retire{"a"})
	s.refuse(ErrNeeded, orderOf(forestall.CheckpointDropped, "2")) // its runs may be alive
	for _, h := range s.workload("a").Holders {
		s.do(&Stopped{Workload: "a", Node: h.Node, Epoch: h.Epoch, How: HowConfirmed})
	}
	s.do(orderOf(forestall.CheckpointDropped, "2"))
	if head := s.workload("a").Head; head != nil {
		t.Errorf("a dropped checkpoint still counts: %+v", head)
	}

	state := s.ledger.State()
	var said []string
	for _, o := range state.CheckpointOrders {
		said = append(said, string(o.Step)+" "+o.ID[:1])
		if o.Index == 0 || o.Time.IsZero() || o.By != "n1, asked for" {
			t.Errorf("entry %+v", o)
		}
	}
	want := []string{"dropped 1", "dropped 0", "dropped f", "pinned 4", "unpinned 4", "dropped 4", "dropped 2"}
	if d := cmp.Diff(want, said); d != "" {
		t.Error(d)
	}
	snapshot, err := s.ledger.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	again := NewLedger()
	if err := again.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(state.CheckpointOrders, again.State().CheckpointOrders); d != "" {
		t.Errorf("the audit after a restore: %s", d)
	}
	for _, bad := range []*CheckpointOrder{
		{Step: "lost", ID: idOf("1")},
		{Step: forestall.CheckpointPinned, ID: "5fa0"},
		{Step: forestall.CheckpointPinned, ID: idOf("1"), Workload: "../x"},
		{Step: forestall.CheckpointPinned, ID: idOf("1"), Damage: strings.Repeat("x", maxOrderText+1)},
	} {
		if _, err := Encode("", t0, bad); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
}
