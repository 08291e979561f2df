package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// The modes that the model learns from, and those that only the test has.
var (
	simSeen   = []gpu.Mode{gpu.ModeThermalRunaway, gpu.ModeTelemetryCollapse, gpu.ModeFallsOffBus}
	simUnseen = []gpu.Mode{gpu.ModeECCStorm, gpu.ModeLinkDegradation}
)

const (
	simGPUs     = 1000
	simPerMode  = 80 // failures of each mode in the test
	simFaultRun = 6 * time.Hour
	simDays     = simWarm + 24*time.Hour // so that a day is judged
)

// simJudges score a row: by what was learnt of failures, and by how unlike ordinary
// operation it is, by what 'forestall train' fits and an engine judges by.
type simJudges struct {
	learnt   *model.Ensemble
	used     []int // places of its features
	names    []string
	usual    *predict.UnlikeFit
	detector *anomaly.Detector
	row      []float64
}

func (j *simJudges) scores(vector []float64) (learnt, unusual float64, err error) {
	j.row = j.row[:0]
	for _, c := range j.used {
		j.row = append(j.row, vector[c])
	}
	if learnt, err = j.learnt.Raw(j.row); err != nil {
		return 0, 0, err
	}
	if j.detector == nil {
		return learnt, math.Inf(-1), nil
	}
	if unusual, err = j.detector.Surprise(vector, nil); math.IsNaN(unusual) {
		unusual = math.Inf(-1) // nothing is reported: unknown, no alarm
	}
	return learnt, unusual, err
}

// trainSim learns from a fleet whose failures are known and one that is healthy.
func trainSim(ctx context.Context, schema *features.Schema, seed uint64) (*simJudges, error) {
	params := riskParams()
	params.Leaves, params.MinHessian = 8, 1
	r := recipe{params: params, members: 3, share: 1}
	names := schema.Names()
	l := &learnt{columns: make([][]float64, len(names))}
	learn := func(row *simRow) {
		label := 0.0
		if row.left > 0 && row.left <= simHorizon {
			label = 1
		}
		l.add(row.vector, label, 1, row.gpu, float64(row.at))
	}
	failing := simFleet{seed, 40 * len(simSeen), simFaultRun, simSeen}
	if err := failing.run(ctx, schema, func(row *simRow) error {
		if row.left > 0 && row.left <= simHorizon || lot(row.gpu, int(row.at)) < 0.1 {
			learn(row)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	j := &simJudges{names: names, usual: predict.NewUnlikeFit(schema, nil)}
	healthy := simFleet{seed + 1, 200, 12 * time.Hour, nil}
	if err := healthy.run(ctx, schema, func(row *simRow) error {
		if lot(row.gpu, int(row.at)) < 0.1 {
			learn(row)
			j.usual.Learn(row.vector)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	var learntNames []string
	learntNames, j.used = l.used(names)
	trained, err := r.train(ctx, l, learntNames)
	if err != nil {
		return nil, err
	}
	j.learnt, err = ensemble(trained)
	return j, err
}

// hold has a healthy fleet choose both thresholds, each at so many alarms in 1,000
// component-days.
func (j *simJudges) hold(ctx context.Context, schema *features.Schema, f simFleet, alarms float64) (learntAt, unusualAt float64, err error) {
	learnt := newSimAlarms(math.Inf(1))
	err = f.run(ctx, schema, func(row *simRow) error {
		a, _, err := j.scores(row.vector)
		if err != nil {
			return err
		}
		learnt.push(row, a)
		return j.usual.Hold(forestall.GPU("", row.gpu), simStart.Add(row.at), row.vector)
	})
	if err != nil {
		return 0, 0, err
	}
	u, err := j.usual.Unlike(alarms)
	if err != nil {
		return 0, 0, err
	}
	j.detector, err = predict.UnlikeDetector(u, j.names)
	return learnt.rare(alarms / 1000 * u.Days), u.Threshold, err
}

// simWatch judges a fleet under two thresholds, one of each judge.
type simWatch struct {
	learnt, unusual, either *simAlarms
	mode                    map[int]gpu.Mode
	rows                    int
}

func (j *simJudges) watch(ctx context.Context, schema *features.Schema, f simFleet, learntAt, unusualAt float64) (*simWatch, error) {
	w := &simWatch{newSimAlarms(learntAt), newSimAlarms(unusualAt), newSimAlarms(0), map[int]gpu.Mode{}, 0}
	err := f.run(ctx, schema, func(row *simRow) error {
		a, b, err := j.scores(row.vector)
		if err != nil {
			return err
		}
		w.rows++
		w.mode[row.gpu] = row.mode
		w.learnt.push(row, a)
		w.unusual.push(row, b)
		w.either.push(row, max(a-learntAt, b-unusualAt))
		return nil
	})
	return w, err
}

// simulatedFleet prints the simulated fleet and reports whether it keeps its bars.
func simulatedFleet(ctx context.Context) (ok bool, err error) {
	schema, err := simSchema()
	if err != nil {
		return false, err
	}
	tell("simulated fleet: training")
	j, err := trainSim(ctx, schema, 100)
	if err != nil {
		return false, err
	}
	tell("simulated fleet: thresholds")
	// One false alarm in 10,000 GPU-days of each judge leaves room for the luck of
	// the test.
	learntAt, unusualAt, err := j.hold(ctx, schema, simFleet{200, 2 * simGPUs, simDays, nil}, 0.1)
	if err != nil {
		return false, err
	}
	tell("simulated fleet: false alarms")
	quiet, err := j.watch(ctx, schema, simFleet{500, simGPUs, simDays, nil}, learntAt, unusualAt)
	if err != nil {
		return false, err
	}
	tell("simulated fleet: failures")
	modes := slices.Concat(simSeen, simUnseen)
	failing, err := j.watch(ctx, schema, simFleet{600, simPerMode * len(modes), simFaultRun, modes}, learntAt, unusualAt)
	if err != nil {
		return false, err
	}
	if quiet.rows == 0 || failing.rows == 0 {
		return false, errors.New("the simulated fleet gave no rows")
	}
	days := float64(quiet.rows) * simStep.Hours() / 24
	fmt.Printf("\n### A simulated fleet of %d GPUs (simulated: no claim about real ones)\n\n", simGPUs)
	fmt.Printf("| mode | failures | caught | median lead | caught by the model | as unlike ordinary operation |\n%s\n", rule(6))
	caught := map[gpu.Mode]float64{}
	leads := map[gpu.Mode]time.Duration{}
	for _, mode := range modes {
		var lead []time.Duration
		n, byModel, byDetector := 0, 0, 0
		for g, m := range failing.mode {
			if m != mode {
				continue
			}
			n++
			if left, ok := failing.either.first[g]; ok {
				lead = append(lead, left)
			}
			if _, ok := failing.learnt.first[g]; ok {
				byModel++
			}
			if _, ok := failing.unusual.first[g]; ok {
				byDetector++
			}
		}
		slices.Sort(lead)
		caught[mode] = float64(len(lead)) / float64(n)
		if len(lead) > 0 {
			leads[mode] = lead[len(lead)/2].Round(time.Second)
		}
		name := string(mode)
		if slices.Contains(simUnseen, mode) {
			name += " (not in the training)"
		}
		fmt.Printf("| %s | %d | %.0f %% | %s | %.0f %% | %.0f %% |\n", name, n, 100*caught[mode], leads[mode], 100*float64(byModel)/float64(n), 100*float64(byDetector)/float64(n))
	}
	fmt.Print("\n| bar | figure | |\n|---|---|---|\n")
	ok = true
	bar := func(what, figure string, kept bool) {
		fmt.Printf("| %s | %s | %s |\n", what, figure, verdict(kept))
		ok = ok && kept
	}
	rate := 1000 * float64(quiet.either.raised) / days
	bar("at most 1 false alarm per 1,000 GPU-days, on other seeds than the thresholds'", fmt.Sprintf("%.2f (%d in %.0f)", rate, quiet.either.raised, days), rate <= 1)
	share := func(what string, least float64, mode gpu.Mode, lead time.Duration) {
		figure := fmt.Sprintf("%.0f %%, median lead %s", 100*caught[mode], leads[mode])
		bar(fmt.Sprintf("%s: %s", mode, what), figure, caught[mode] >= least && leads[mode] >= lead)
	}
	share("at least 80 % with a median lead of 10 min", 0.8, gpu.ModeThermalRunaway, 10*time.Minute)
	share("at least 90 %", 0.9, gpu.ModeTelemetryCollapse, 0)
	for _, mode := range simUnseen {
		share("not in the training: at least 50 %", 0.5, mode, 0)
	}
	fmt.Printf("\n%s shows nothing before the last twentieth of its time; what is caught of it is caught then.\n", gpu.ModeFallsOffBus)
	return ok, nil
}
