package migrate

import (
	"time"

	"github.com/stratoswarm/forestall"
)

// priceCheckpoint prices a checkpoint taken now, in GPU-seconds. It saves the
// work since the last one if the component fails before the next one that is
// due anyway; the failure is taken to fall anywhere in the horizon with equal
// probability. It costs the pause. perSecond is the workload's
// forestall.Workload.CostPerSecond.
func priceCheckpoint(st stake, unsaved, interval time.Duration, c Costs, perSecond float64) forestall.Price {
	before := 1.0
	if due := max(0, interval-unsaved); st.horizon > 0 {
		before = min(1, due.Seconds()/st.horizon.Seconds())
	}
	if unsaved > interval { // the periodic one is late: nothing else will save it
		before = 1
	}
	return forestall.Price{
		Saves: st.p * before * unsaved.Seconds() * perSecond,
		Costs: c.CheckpointPause.Seconds() * perSecond,
	}
}

// priceMove prices leaving now, in GPU-seconds. It saves what the failure
// would destroy, which is the work since the last checkpoint by then and the
// recovery, and costs the pause. A failure some time ahead finds on average
// half an interval of unsaved work, however fresh the last checkpoint is now.
func priceMove(st stake, unsaved, interval time.Duration, c Costs, perSecond float64) forestall.Price {
	lost := max(unsaved, min(interval, st.horizon)/2)
	return forestall.Price{
		Saves: st.p * (lost + c.Recovery).Seconds() * perSecond,
		Costs: c.MovePause.Seconds() * perSecond,
	}
}
