package detect

import (
	"fmt"

	"github.com/stratoswarm/forestall"
)

// ExitFailure returns the failure that a workload's process exit is, if it is
// one: Forestall didn't stop it, and it isn't an agent that ended with status 0,
// which has done its work. A service has no reason to end.
func ExitFailure(w forestall.Workload, exit forestall.Exit) (forestall.Failure, bool) {
	done := w.Kind == forestall.KindAgent && exit.Code == 0 && exit.Signal == 0
	if exit.Expected || done {
		return forestall.Failure{}, false
	}
	kind := forestall.ServiceFailure
	if w.Kind == forestall.KindAgent {
		kind = forestall.AgentFailure
	}
	how := fmt.Sprintf("its process (epoch %s) ended with status %d", exit.Epoch, exit.Code)
	if exit.Signal != 0 {
		how = fmt.Sprintf("its process (epoch %s) was killed by signal %d (%s)", exit.Epoch, int(exit.Signal), exit.Signal)
	}
	evidence := []string{how}
	if exit.Reason != "" {
		evidence = append(evidence, exit.Reason)
	}
	return forestall.Failure{
		Component: w.Component(), Kind: kind, Time: exit.Time, LastSeen: exit.Time, Evidence: evidence,
	}, true
}

// EventFailure returns the failure that an event of a GPU is, if it is one: it
// fell off the bus, or the driver logged an XID that the GPU doesn't come back
// from without a reset. A source that could not be read is none.
func EventFailure(e forestall.Event) (forestall.Failure, bool) {
	if e.Component.Kind != forestall.KindGPU {
		return forestall.Failure{}, false
	}
	var evidence []string
	switch e.Kind {
	case forestall.EventFellOffBus:
		evidence = []string{"the GPU fell off the bus: the driver no longer finds it"}
	case forestall.EventXID:
		x, ok := LookupXID(e.Code)
		if !ok || !x.Fatal {
			return forestall.Failure{}, false
		}
		evidence = []string{x.String()}
	default:
		return forestall.Failure{}, false
	}
	if e.Detail != "" {
		evidence = append(evidence, e.Detail)
	}
	return forestall.Failure{
		Component: e.Component, Kind: forestall.GPUFailure, Time: e.Time, LastSeen: e.Time, Evidence: evidence,
	}, true
}
