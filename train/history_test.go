package train_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict"
	"github.com/stratoswarm/forestall/train"
)

// TestTrainOnHistory goes the whole way once on the recorded history of
// simulated GPUs: replay, windows, vectors, labels, a split by time with its
// embargo, trees, a card, and the model serving the very rows it was judged
// on. It shows that the parts fit; how well such a model does says nothing
// about real hardware.
func TestTrainOnHistory(t *testing.T) {
	windows := []time.Duration{10 * time.Second, time.Minute}
	schema, err := features.NewSchema(forestall.KindGPU, features.Metrics(forestall.KindGPU), windows)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join("..", "testdata", "history", "incidents.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	incidents, err := train.ReadIncidents(f)
	if err != nil {
		t.Fatal(err)
	}
	samples, err := os.Open(filepath.Join("..", "testdata", "history", "samples.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer samples.Close()

	const horizon = 2 * time.Minute
	start := incidents[0].Start.Add(-6 * time.Minute)
	split := start.Add(36 * time.Minute)
	labeler, err := train.NewLabeler(incidents, train.LabelOptions{Horizon: horizon, Recovery: time.Minute, End: start.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}

	schemas := map[forestall.Kind]*features.Schema{forestall.KindGPU: schema}
	store := features.NewStore(schemas)
	columns := make([][]float64, len(schema.Names()))
	var label []float64
	var rows [][]float64 // held out
	var positive []bool
	next := 0
	for reading, err := range features.ReadHistory(samples) {
		if err != nil {
			t.Fatal(err)
		}
		now, c := reading[0].Time, reading[0].Component
		for ; next < len(incidents) && !incidents[next].Start.After(now); next++ {
			store.Forget(incidents[next].Component) // what comes after the repair is another device
		}
		if err := store.Push(reading, -1); err != nil {
			t.Fatal(err)
		}
		verdict := labeler.Label(now, c)
		if !verdict.Trains() {
			continue
		}
		store.With(c, func(w *features.Window) {
			if ready, _ := w.Ready(); !ready {
				return
			}
			vector := w.Vector(nil)
			switch {
			case now.Before(split.Add(-horizon)): // the embargo: no label looks past the split
				for i, v := range vector {
					columns[i] = append(columns[i], v)
				}
				y := 0.0
				if verdict == train.Positive {
					y = 1
				}
				label = append(label, y)
			case !now.Before(split):
				rows, positive = append(rows, vector), append(positive, verdict == train.Positive)
			}
		})
	}

	dataset, err := train.NewDataset(schema.Names(), columns, label, nil, train.Spec{Label: "failed", Objective: train.Binary})
	if err != nil {
		t.Fatal(err)
	}
	p := train.DefaultParams()
	p.Trees, p.Leaves = 40, 15
	result, err := train.Train(t.Context(), dataset, nil, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := result.Text()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = model.Save(dir, text, model.Card{
		Format: 1, Name: "history", Version: "history-test", Kind: "gpu", Schema: schema.Version(), Features: schema.Names(),
		Windows: []model.Duration{model.Duration(windows[0]), model.Duration(windows[1])}, Horizon: model.Duration(horizon),
		Calibration: model.Calibration{Method: model.None}, Training: model.Training{From: start, To: split, Notes: "simulated"},
	})
	if err != nil {
		t.Fatal(err)
	}

	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := predict.New(map[forestall.Kind]*model.Model{forestall.KindGPU: m}, schemas, predict.DefaultConfig()); err != nil {
		t.Fatalf("the trained model cannot serve: %v", err)
	}
	var score []float64
	positives := 0
	for i, row := range rows {
		probability, err := m.Probability(row)
		if err != nil || math.IsNaN(probability) {
			t.Fatalf("row %d: %v, %v", i, probability, err)
		}
		score = append(score, probability)
		if positive[i] {
			positives++
		}
	}
	base := float64(positives) / float64(len(rows))
	ap, auc := model.AveragePrecision(score, positive), model.ROCAUC(score, positive)
	t.Logf("trained on %d rows (%d positive), judged on %d later ones: base rate %.3f, average precision %.3f, ROC AUC %.3f",
		dataset.Rows(), dataset.Positives(), len(rows), base, ap, auc)
	if !(ap > 3*base && auc > 0.75) {
		t.Errorf("average precision %.3f and AUC %.3f are not well above chance (base rate %.3f)", ap, auc, base)
	}
}
