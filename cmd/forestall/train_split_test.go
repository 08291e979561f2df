package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// trained trains on a plain table and loads the model.
func trained(t *testing.T, flags ...string) (m *model.Model, out, stderr string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	out, stderr = forestallRun(t, 0, append([]string{"train", "--table", plainTable(t, "t.csv", 60, 1), "--label", "fails", "--out", dir, "--trees", "40", "--leaves", "7"}, flags...)...)
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m, out, stderr
}

func TestTrainHoldout(t *testing.T) {
	m, out, _ := trained(t, "--drop", "note,at,unit", "--time", "hour", "--holdout", "20%", "--embargo", "10", "--early-stopping", "5", "--metric", "ap")
	if got := m.Features(); !slices.Equal(got, []string{"wear", "temp"}) {
		t.Errorf("features %v", got)
	}
	trials := m.Card.Trials
	if trials == nil || len(trials.Folds) != 1 || trials.Metric != "ap" || !(trials.Mean > 0.3) || trials.Split != "the last 20 % of the rows by hour, embargo 10" {
		t.Fatalf("trials %+v", trials)
	}
	f := trials.Folds[0]
	if f.Trees != m.Trees() || f.TrainRows < 5*f.Rows/2 || f.TrainPositives == 0 || f.Positives == 0 {
		t.Errorf("fold %+v, the model has %d trees", f, m.Trees())
	}
	if !strings.Contains(out, "FOLD") || !strings.Contains(out, f.Name) {
		t.Errorf("train says\n%s", out)
	}
	// Asked for, the time is a feature.
	if m, _, _ := trained(t, "--drop", "note,at,unit", "--time", "hour", "--keep", "hour", "--holdout", "0.2"); !slices.Contains(m.Features(), "hour") {
		t.Errorf("features %v", m.Features())
	}
}

func TestTrainPrequential(t *testing.T) {
	m, out, stderr := trained(t, "--drop", "note,at,unit", "--time", "hour", "--split", "prequential", "--train-window", "40", "--test-window", "20", "--embargo", "5", "--json")
	trials := m.Card.Trials
	if trials == nil || len(trials.Folds) != 3 || trials.Spread <= 0 || trials.Folds[0].Name != "hour 45 to 65" {
		t.Fatalf("trials %+v", trials)
	}
	if !strings.Contains(out, "standard deviation") || strings.Count(stderr, `"train_rows":`) != 3 {
		t.Errorf("train says\n%s\n%s", out, stderr)
	}
	if !strings.Contains(m.Card.Training.Notes, " of ") {
		t.Errorf("notes %q", m.Card.Training.Notes)
	}
}

func TestTrainSearch(t *testing.T) {
	flags := []string{"--drop", "note,at,hour", "--group", "unit", "--folds", "3", "--search", "4", "--search-trees", "60", "--early-stopping", "10", "--seed", "4"}
	m, out, stderr := trained(t, append(flags, "--json")...)
	trials := m.Card.Trials
	if trials == nil || len(trials.Folds) != 3 || trials.Searched != 4 || trials.Metric != "ap" || trials.Ended != "" {
		t.Fatalf("trials %+v", trials)
	}
	want := []string{"l2", "learning_rate", "leaves", "max_step", "min_leaf", "sample_features", "sample_rows", "trees"}
	if got := slices.Sorted(maps.Keys(trials.Params)); !slices.Equal(got, want) || int(trials.Params["trees"]) != m.Trees() {
		t.Errorf("parameters %v, the model has %d trees", trials.Params, m.Trees())
	}
	if strings.Count(stderr, `"abandoned":`) != 4 || !strings.Contains(out, "Tried 4 trials") {
		t.Errorf("train says\n%s\n%s", out, stderr)
	}
	again, _, _ := trained(t, flags...)
	if again.Card.TreesSHA256 != m.Card.TreesSHA256 {
		t.Error("the same search finds another model")
	}

	valid := plainTable(t, "valid.csv", 20, 2)
	m, _, _ = trained(t, "--drop", "note,at,hour,unit", "--valid", valid, "--search", "2", "--search-trees", "50", "--early-stopping", "5")
	if tr := m.Card.Trials; tr == nil || tr.Split != "table valid.csv" || tr.Folds[0].Trees != m.Trees() {
		t.Errorf("trials %+v, the model has %d trees", tr, m.Trees())
	}
}

func TestTrainCalibrationSlice(t *testing.T) {
	for _, tc := range []struct {
		of    string
		flags []string
	}{
		{"the last 20 % of the rows by hour", []string{"--drop", "note,at", "--time", "hour", "--group", "unit", "--calibration", "isotonic", "--embargo", "10"}},
		{"components with 20 % of the rows by unit", []string{"--drop", "note,at,hour", "--group", "unit"}},
		{"components with 20 % of the rows by unit", []string{"--drop", "note,at", "--time", "hour", "--group", "unit", "--folds", "3"}},
	} {
		m, out, _ := trained(t, append(tc.flags, "--calibrate", "20%")...)
		r := m.Card.Reliability
		if r == nil || r.Of != tc.of || !r.Unseen || r.Rows < 500 || r.Rows > 1100 || len(r.Curve) < 3 {
			t.Fatalf("%v: reliability %+v", tc.flags, r)
		}
		if !strings.Contains(out, "Calibrated with "+string(m.Card.Calibration.Method)) || m.Card.Calibration.Method == model.None {
			t.Errorf("train says\n%s", out)
		}
		// The rows to calibrate on are used for nothing else.
		if tr := m.Card.Trials; tr != nil && !strings.Contains(m.Card.Training.Notes, fmt.Sprintf("%d of %d rows", tr.Folds[0].Rows+tr.Folds[0].TrainRows, tr.Folds[0].Rows+tr.Folds[0].TrainRows+r.Rows)) {
			t.Errorf("fold %+v beside %d rows to calibrate on", tr.Folds[0], r.Rows)
		}
	}
}

func TestTrainSplitErrors(t *testing.T) {
	table := plainTable(t, "t.csv", 10, 5)
	out := filepath.Join(t.TempDir(), "m")
	for want, flags := range map[string][]string{
		"needs --time, the column":          {"--holdout", "20%"},
		"needs --group, the column":         {"--folds", "3"},
		"--folds is for a split by group":   {"--time", "hour", "--folds", "3", "--holdout", "20%"},
		"--embargo needs --time":            {"--group", "unit", "--folds", "3", "--embargo", "1"},
		"--embargo needs rows held out":     {"--time", "hour", "--embargo", "1"},
		"with a share":                      {"--time", "hour", "--embargo", "1", "--calibrate", table},
		"--embargo is for rows held out by": {"--time", "hour", "--group", "unit", "--folds", "3", "--embargo", "1"},
		"a --train-window of 500, an":       {"--time", "hour", "--train-window", "500", "--test-window", "5"},
		"both say what judges":              {"--time", "hour", "--holdout", "20%", "--valid", table},
		"a search needs rows that judge it": {"--search", "3"},
		"--search is -1":                    {"--search=-1"},
		"--keep wear":                       {"--time", "hour", "--keep", "wear"},
		"--test-window is 0":                {"--time", "hour", "--train-window", "3"},
		"lengthen --train-window":           {"--time", "hour", "--train-window", "5", "--test-window", "5"},
		"make at most 10 folds":             {"--group", "unit", "--folds", "11"},
		`column "day" is missing`:           {"--time", "day", "--holdout", "20%"},
		"the cell is empty":                 {"--time", "wear", "--holdout", "20%"},
		"needs --time or --group: neigh":    {"--calibrate", "10%"},
		"\"0%\" is no share":                {"--calibrate", "0%", "--time", "hour"},
		"--calibration needs --calibrate":   {"--calibration", "platt"},
		"does not know the weights of":      {"--calibrate", table, "--weight", "hour"},
		"which objective regression":        {"--calibrate", table, "--objective", "regression"},
		"not one trial was finished":        {"--group", "unit", "--search-time", "1ns"},
		"is a file; name a directory":       {"--out", table},
	} {
		args := append([]string{"train", "--table", table, "--label", "fails", "--out", out, "--drop", "note"}, flags...)
		if _, stderr := forestallRun(t, 1, args...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q does not say %q", flags, stderr, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%v: a model was written", flags)
		}
	}
	if _, stderr := forestallRun(t, 2, "train", "--table", table, "--label", "fails", "--out", out, "--holdout", "120%"); !strings.Contains(stderr, "is no share") {
		t.Errorf("a share above 1: %q", stderr)
	}
}

// onLine calls do once, when a line that is written contains all of the text's
// words.
type onLine struct {
	bytes.Buffer
	text string
	do   func()
}

func (w *onLine) Write(p []byte) (int, error) {
	here := true
	for _, word := range strings.Fields(w.text) {
		here = here && bytes.Contains(p, []byte(word))
	}
	if w.do != nil && here {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(p)
}

// TestTrainInterrupted: whatever Ctrl-C ends, a valid model is left, or the
// reason why there is none.
func TestTrainInterrupted(t *testing.T) {
	table := plainTable(t, "t.csv", 60, 1)
	for _, tc := range []struct {
		name, at, fails string
		flags           []string
		check           func(*testing.T, *model.Model)
	}{
		{
			"trees, then a slice to calibrate on", `"tree":7,`, "",
			[]string{"--drop", "note,at,unit", "--time", "hour", "--calibrate", "20%"},
			func(t *testing.T, m *model.Model) {
				if m.Trees() != 7 || m.Card.Calibration.Method != model.Platt || m.Card.Reliability == nil {
					t.Errorf("%d trees, calibration %+v", m.Trees(), m.Card.Calibration)
				}
			},
		},
		{
			"holdout", `"tree":7,`, "",
			[]string{"--drop", "note,at,unit", "--time", "hour", "--holdout", "20%"},
			func(t *testing.T, m *model.Model) {
				if m.Trees() != 7 || m.Card.Trials.Folds[0].Trees != 7 {
					t.Errorf("%d trees, trials %+v", m.Trees(), m.Card.Trials)
				}
			},
		},
		{
			"folds", `"fold":2, "name"`, "",
			[]string{"--drop", "note,at,hour", "--group", "unit", "--folds", "4"},
			func(t *testing.T, m *model.Model) {
				if tr := m.Card.Trials; m.Trees() != 40 || len(tr.Folds) != 2 || tr.Ended == "" {
					t.Errorf("%d trees, trials %+v", m.Trees(), m.Card.Trials)
				}
			},
		},
		{
			"search", `"abandoned" "trial":2}`, "",
			[]string{"--drop", "note,at,hour", "--group", "unit", "--folds", "2", "--search", "50", "--search-trees", "30"},
			func(t *testing.T, m *model.Model) {
				if tr := m.Card.Trials; tr.Searched != 2 || tr.Ended == "" || int(tr.Params["trees"]) != m.Trees() {
					t.Errorf("%d trees, trials %+v", m.Trees(), tr)
				}
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "m")
			ctx, cancel := context.WithCancel(t.Context())
			stderr := &onLine{text: tc.at, do: cancel}
			if err := trainIn(ctx, t, stderr, append([]string{"--table", table, "--label", "fails", "--trees", "40", "--json", "--out", dir}, tc.flags...)...); err != nil {
				t.Fatal(err)
			}
			if stderr.do != nil {
				t.Fatalf("it never came to %s:\n%s", tc.at, stderr)
			}
			m, err := model.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			tc.check(t, m)
		})
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	dir := filepath.Join(t.TempDir(), "m")
	err := trainIn(ended, t, &onLine{}, "--table", table, "--label", "fails", "--drop", "note,at,hour", "--group", "unit", "--search", "3", "--out", dir)
	if err == nil || reason(ended, err).Error() != "interrupted before there was a model; nothing is written" {
		t.Errorf("a training that was interrupted before it began: %v, told as %v", err, reason(ended, err))
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it left a model")
	}
}

// trainIn runs train under a context.
func trainIn(ctx context.Context, t *testing.T, stderr *onLine, args ...string) error {
	t.Helper()
	c, _ := parsedTrain(t, args...)
	return c.Run(newGlobals(ctx, io.Discard, stderr))
}

// TestTrainJSONLines: each tree of the model, each fold and each trial is a line.
func TestTrainJSONLines(t *testing.T) {
	m, _, stderr := trained(t, "--drop", "note,at,hour", "--group", "unit", "--folds", "2", "--search", "2", "--search-trees", "20", "--json")
	count := map[string]int{}
	for line := range strings.Lines(stderr) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%v: %q", err, line)
		}
		switch {
		case fields["tree"] != nil && fields["fold"] == nil:
			count["tree"]++
		case fields["tree"] == nil && fields["fold"] != nil && fields["trial"] != nil:
			count["fold"]++
		case fields["abandoned"] != nil:
			count["trial"]++
		case fields["tree"] == nil && fields["reading"] == nil:
			t.Errorf("what is %q?", line)
		}
	}
	if count["tree"] != m.Trees() || count["fold"] < 3 || count["fold"] > 4 || count["trial"] != 2 {
		t.Errorf("%v for %d trees of 2 trials\n%s", count, m.Trees(), stderr)
	}
}

func TestTellCalibration(t *testing.T) {
	card := &model.Card{Calibration: model.Calibration{Method: model.Platt}, Reliability: &model.Reliability{
		Of: "later.csv", Rows: 100, Positives: 3, Unseen: true,
		Before: model.Probabilities{LogLoss: 0.10, ECE: 0.02}, After: model.Probabilities{LogLoss: 0.11, ECE: 0.03},
	}}
	for _, tc := range []struct {
		change      func(*model.Reliability)
		says, quiet string
	}{
		{func(*model.Reliability) {}, "does not help here", "too few to halve"},
		{func(r *model.Reliability) { r.After.LogLoss = 0.09 }, "Calibrated with platt on later.csv: 100 rows, 3 positive", "does not help"},
		{func(r *model.Reliability) { r.Unseen = false }, "too few to halve", "does not help"},
	} {
		tc.change(card.Reliability)
		var out bytes.Buffer
		tellCalibration(newGlobals(t.Context(), &out, &out), card)
		if got := out.String(); !strings.Contains(got, tc.says) || strings.Contains(got, tc.quiet) {
			t.Errorf("%q says not %q, or %q", got, tc.says, tc.quiet)
		}
	}
}
