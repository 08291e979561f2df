package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// A simulated fleet: package gpu's simulator, whose readings follow the quantiles
// of a production cluster, read once a minute through the product's windows. What
// is measured here tells whether the whole path works, not how real GPUs fail.

const (
	simStudy   = "fleet" // for -only
	simStep    = time.Minute
	simPerNode = 8
	simWarm    = time.Hour        // before the first row and the first fault
	simHorizon = time.Hour        // of the label
	simShort   = 20 * time.Minute // least and most time in which a fault unfolds
	simLong    = 2 * time.Hour
)

var simStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// simRow is what a window gives of a GPU at one time. Its vector is valid during
// the call only.
type simRow struct {
	gpu    int // of the fleet
	at     time.Duration
	mode   gpu.Mode
	left   time.Duration // until it has failed; negative: it will not
	begun  bool          // the fault unfolds
	vector []float64
}

// simFleet is a number of GPUs over some time; all fail in one of the modes once,
// or none does.
type simFleet struct {
	seed  uint64
	gpus  int
	over  time.Duration
	modes []gpu.Mode // in turn
}

func simSchema() (*features.Schema, error) {
	return features.NewSchema(forestall.KindGPU, features.Metrics(forestall.KindGPU), []time.Duration{5 * time.Minute, time.Hour})
}

// run plays the fleet, node by node, and calls visit for each GPU that answers or
// has not yet failed, minute by minute.
func (f simFleet) run(ctx context.Context, schema *features.Schema, visit func(*simRow) error) error {
	for first := 0; first < f.gpus; first += simPerNode {
		if err := f.node(ctx, schema, first, min(simPerNode, f.gpus-first), visit); err != nil {
			return err
		}
	}
	return nil
}

// simFault is how one GPU of the plan fails.
type simFault struct {
	mode gpu.Mode
	from time.Duration
	over time.Duration
}

func (f simFleet) node(ctx context.Context, schema *features.Schema, first, gpus int, visit func(*simRow) error) (err error) {
	rng := rand.New(rand.NewPCG(f.seed, uint64(first)))
	now := simStart
	name := fmt.Sprintf("n%d", first/simPerNode)
	sim, err := gpu.NewSim(gpu.SimConfig{Node: name, GPUs: gpus, Seed: f.seed, Now: func() time.Time { return now }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	store := features.NewStore(map[forestall.Kind]*features.Schema{forestall.KindGPU: schema})
	faults := make([]simFault, gpus)
	for i := range faults {
		faults[i].from = -1
		if len(f.modes) > 0 {
			faults[i] = simFault{
				mode: f.modes[(first+i)%len(f.modes)],
				from: simWarm + time.Duration(rng.Int64N(int64(2*time.Hour)/int64(simStep)))*simStep,
				over: simShort + time.Duration(rng.Int64N(int64(simLong-simShort))),
			}
		}
	}
	var samples []forestall.Sample
	row := simRow{}
	for ; now.Before(simStart.Add(f.over)); now = now.Add(simStep) {
		at := now.Sub(simStart)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for i := range gpus {
			fault := &faults[i]
			fails := fault.from + fault.over
			if fault.from >= 0 && at >= fails {
				continue
			}
			if at == 0 || rng.Float64() < simStep.Minutes()/20 { // another job
				sim.SetLoad(i, []float64{0, 0.2, 0.6, 0.8, 0.95}[rng.IntN(5)])
			}
			if at == fault.from {
				if err := sim.Inject(i, fault.mode, fault.over); err != nil {
					return err
				}
			}
			c := forestall.GPU(name, i)
			samples, err = sim.Read(ctx, now, name, i, samples[:0])
			switch {
			case errors.Is(err, gpu.ErrGone):
				err = store.PushMissing(c, now, time.Millisecond)
			case err == nil:
				err = store.Push(samples, sim.Latency(i))
			}
			if err != nil {
				return err
			}
			if at < simWarm {
				continue
			}
			row.gpu, row.at, row.mode, row.left, row.begun = first+i, at, gpu.ModeNone, -1, false
			if fault.from >= 0 {
				row.mode, row.left, row.begun = fault.mode, fails-at, at >= fault.from
			}
			store.With(c, func(w *features.Window) { row.vector = w.Vector(row.vector) })
			if err := visit(&row); err != nil {
				return err
			}
		}
	}
	return nil
}

// simAlarms follows one judge over a fleet's rows: alarms are runs of rows whose
// score is above a threshold.
type simAlarms struct {
	threshold float64
	standing  map[int]bool
	first     map[int]time.Duration // time left at the first alarm once the fault unfolds
	raised    int
	peaks     map[int]float64
}

func newSimAlarms(threshold float64) *simAlarms {
	return &simAlarms{threshold, map[int]bool{}, map[int]time.Duration{}, 0, map[int]float64{}}
}

func (a *simAlarms) push(row *simRow, score float64) {
	if p, ok := a.peaks[row.gpu]; !ok || score > p {
		a.peaks[row.gpu] = score
	}
	above := score > a.threshold
	if above && !a.standing[row.gpu] {
		a.raised++
	}
	a.standing[row.gpu] = above
	if above && row.begun {
		if _, seen := a.first[row.gpu]; !seen {
			a.first[row.gpu] = row.left
		}
	}
}

// rare returns the threshold that so many of the GPUs that were followed are
// expected to pass.
func (a *simAlarms) rare(expected float64) float64 {
	return anomaly.Rare(slices.Collect(maps.Values(a.peaks)), expected)
}
