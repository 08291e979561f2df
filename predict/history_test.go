package predict_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/train" // a test may label as the trainer will
)

// TestHistory replays the recorded hour through windows, model and labels: the
// whole offline way. The hour is simulated, so its figures say that the parts
// fit, not how well failures of real GPUs are predicted.
func TestHistory(t *testing.T) {
	t.Parallel()
	m, scorer, store := builtinGPU(t)
	incidents := readIncidents(t)
	samples, err := os.Open(filepath.Join("..", "testdata", "history", "samples.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer samples.Close()

	horizon := time.Duration(m.Card.Horizon)
	opt := train.LabelOptions{Horizon: horizon, Recovery: time.Minute, End: start.Add(time.Hour)}
	accuracy := predict.NewAccuracy(horizon)
	var score []float64
	var label []bool
	next := 0
	scrapes := func(yield func([]forestall.Sample, error) bool) {
		for reading, err := range features.ReadHistory(samples) {
			for ; err == nil && next < len(incidents) && !incidents[next].Start.After(reading[0].Time); next++ {
				in := incidents[next]
				accuracy.Fail(forestall.Failure{Component: in.Component, Kind: in.Kind, Time: in.Start})
				store.Forget(in.Component) // what comes after the repair is another device
			}
			if !yield(reading, err) {
				return
			}
		}
	}
	err = scorer.Replay(scrapes, store, 0, func(now time.Time, risk forestall.Risk) error {
		verdict := train.Label(now, risk.Component, incidents, opt)
		if verdict != train.Inside {
			accuracy.Predict(risk)
			if risk.Grade != forestall.Unknown && (verdict == train.Positive || verdict == train.Negative) {
				score, label = append(score, risk.Probability), append(label, verdict == train.Positive)
			}
		}
		accuracy.Mature(now)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	positives := 0
	for _, y := range label {
		if y {
			positives++
		}
	}
	base := float64(positives) / float64(len(label))
	ap, auc := model.AveragePrecision(score, label), model.ROCAUC(score, label)
	s := accuracy.Scores()
	t.Logf("%d rows, base rate %.3f: average precision %.3f, ROC AUC %.3f, Brier skill %.3f", len(label), base, ap, auc, model.BrierSkill(score, label))
	t.Logf("%d of %d failures caught, %d false alarms, balanced accuracy %.3f, lead times %v", s.Caught, s.Failures, s.FalseAlarms, s.Balanced, s.LeadTimes)
	if !(ap > 4*base) {
		t.Errorf("average precision %.3f is not well above the base rate %.3f", ap, base)
	}
	// Three of the 18 fall off the bus without a precursor.
	if s.Failures != 18 || s.Caught < 14 || s.FalseAlarms > 1 {
		t.Errorf("%d of %d failures caught with %d false alarms", s.Caught, s.Failures, s.FalseAlarms)
	}
}

func readIncidents(t *testing.T) []forestall.Incident {
	f, err := os.Open(filepath.Join("..", "testdata", "history", "incidents.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	incidents, err := train.ReadIncidents(f)
	if err != nil {
		t.Fatal(err)
	}
	return incidents
}
