package predict_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/gpu" // tests may reach down to the simulator
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/predict/builtin"
)

const (
	node = "n1"
	gpus = 8
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// rig is one node of simulated GPUs under the built-in model, second by second.
type rig struct {
	t      testing.TB
	now    time.Time
	sim    *gpu.Sim
	store  *features.Store
	scorer *predict.Scorer
}

// builtinGPU returns the built-in model for GPUs, a scorer with it and an empty store.
func builtinGPU(t testing.TB) (*model.Model, *predict.Scorer, *features.Store) {
	t.Helper()
	m, err := builtin.Builtin(forestall.KindGPU)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := predict.SchemaFor(m)
	if err != nil {
		t.Fatal(err)
	}
	schemas := map[forestall.Kind]*features.Schema{forestall.KindGPU: schema}
	scorer, err := predict.New(map[forestall.Kind]*model.Model{forestall.KindGPU: m}, schemas, predict.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return m, scorer, features.NewStore(schemas)
}

func newRig(t testing.TB, seed uint64) *rig {
	r := &rig{t: t, now: start}
	_, r.scorer, r.store = builtinGPU(t)
	var err error
	r.sim, err = gpu.NewSim(gpu.SimConfig{Node: node, GPUs: gpus, Seed: seed, Now: func() time.Time { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// second reads all GPUs and scores them.
func (r *rig) second() []forestall.Risk {
	r.now = r.now.Add(time.Second)
	for i := range gpus {
		c := forestall.GPU(node, i)
		samples, err := r.sim.Read(r.t.Context(), r.now, node, i, nil)
		if errors.Is(err, gpu.ErrGone) {
			err = r.store.PushMissing(c, r.now, time.Millisecond)
		} else if err == nil {
			err = r.store.Push(samples, 2*time.Millisecond)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return r.scorer.ScoreAll(r.now, r.store)
}

// TestGradualFailures: what announces itself is Failing at least 15 s before
// it has failed, after minutes, from idle and from busy.
func TestGradualFailures(t *testing.T) {
	for _, mode := range []gpu.Mode{gpu.ModeThermalRunaway, gpu.ModeECCStorm, gpu.ModeLinkDegradation, gpu.ModeTelemetryCollapse} {
		for _, load := range []float64{0, 0.9} {
			for seed := range uint64(2) {
				t.Run(fmt.Sprintf("%s/load%v/seed%d", mode, load, seed), func(t *testing.T) {
					t.Parallel()
					r := newRig(t, seed)
					for i := range gpus {
						r.sim.SetLoad(i, load)
					}
					for range 90 {
						r.second()
					}
					if err := r.sim.Inject(0, mode, time.Minute); err != nil {
						t.Fatal(err)
					}
					fails := r.now.Add(time.Minute)
					var lead time.Duration
					var first forestall.Risk
					for r.now.Before(fails) {
						risks := r.second()
						if lead == 0 && risks[0].Grade == forestall.Failing {
							lead, first = fails.Sub(r.now), risks[0]
						}
						for _, other := range risks[1:] {
							if other.Grade != forestall.Healthy {
								t.Errorf("%s, a healthy sibling, is %s: %v", other.Component, other.Grade, other.Reasons)
							}
						}
					}
					t.Logf("lead %s, p %.2f, reasons %q", lead, first.Probability, texts(first))
					if lead < 15*time.Second {
						t.Errorf("lead is %s", lead)
					}
				})
			}
		}
	}
}

func texts(r forestall.Risk) (s []string) {
	for _, reason := range r.Reasons {
		s = append(s, reason.Text)
	}
	return s
}

// TestHealthyStaysHealthy: half an hour of jobs coming and going on 8 GPUs
// raises no alarm, and the usual probability is below 1 %.
func TestHealthyStaysHealthy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 7)
	worst, above, n := 0.0, 0, 0
	for s := range 30 * 60 {
		for i := range gpus {
			if (s+37*i)%240 == 0 {
				r.sim.SetLoad(i, float64((s/240+i)%3)/2)
			}
		}
		for _, risk := range r.second() {
			if math.IsNaN(risk.Probability) {
				continue
			}
			n++
			if risk.Probability >= 0.01 {
				above++
			}
			if risk.Probability > worst {
				worst = risk.Probability
				t.Logf("%s %s %.3f %q", risk.Time.Sub(start), risk.Component, risk.Probability, texts(risk))
			}
			if risk.Grade > forestall.Suspect {
				t.Errorf("%s is %s: %v", risk.Component, risk.Grade, risk.Reasons)
			}
		}
	}
	t.Logf("%d scores, %d above 1 %%, the highest %.3f", n, above, worst)
	if above > n/100 {
		t.Errorf("%d of %d scores are above 1 %%", above, n)
	}
}
