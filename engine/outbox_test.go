package engine

import (
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestOutboxIsBounded: without a leader a GPU that says again and again that it has
// failed is kept once, with what it said first; other runs and components are not
// passed over for it. Else a report would outgrow what a peer takes, and for good.
func TestOutboxIsBounded(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	failed := func(c forestall.Component, kind forestall.FailureKind, epoch forestall.Epoch, s int) failureReport {
		return failureReport{forestall.Failure{Component: c, Kind: kind, Time: began.Add(time.Duration(s) * time.Second)}, epoch}
	}
	o := newOutbox()
	for s := range 1000 {
		o.add(failed(forestall.GPU("n1", 0), forestall.GPUFailure, 0, s))
	}
	o.add(failed(forestall.GPU("n1", 1), forestall.GPUFailure, 0, 1))
	o.add(failed(forestall.Agent("a"), forestall.AgentFailure, 4, 1))
	o.add(failed(forestall.Agent("a"), forestall.AgentFailure, 9, 2))
	got := o.pending()
	if len(got) != 4 || !got[0].Time.Equal(began) {
		t.Errorf("%d failures wait, the first of %s; want 4, of %s", len(got), got[0].Time, began)
	}
	o.taken(1)
	o.add(failed(forestall.GPU("n1", 0), forestall.GPUFailure, 0, 1000))
	if got := o.pending(); len(got) != 4 || got[3].Component != forestall.GPU("n1", 0) {
		t.Errorf("after the first was taken: %+v", got)
	}
}
