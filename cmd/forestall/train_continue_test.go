package main

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

func TestTrainContinue(t *testing.T) {
	old, recent := plainTable(t, "old.csv", 30, 1), plainTable(t, "new.csv", 30, 2)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	flags := []string{"train", "--label", "fails", "--drop", "unit,hour,note,at", "--leaves", "7"}
	forestallRun(t, 0, append(flags, "--table", old, "--trees", "15", "--monotone", "wear=+1", "--out", first)...)
	out, _ := forestallRun(t, 0, append(flags, "--table", recent, "--trees", "10", "--continue", first, "--out", second)...)
	if !strings.Contains(out, "Trained 10 trees") || !strings.Contains(out, "They follow the 15 trees of first.") {
		t.Errorf("train says %q", out)
	}
	m, err := model.Load(second)
	if err != nil {
		t.Fatal(err)
	}
	if m.Trees() != 25 || m.Card.Monotone["wear"] != 1 || !strings.Contains(m.Card.Training.Notes, "goes on from 15 trees of first ") {
		t.Errorf("%d trees; monotone %v; notes %q", m.Trees(), m.Card.Monotone, m.Card.Training.Notes)
	}
	// The bare text does as well, and goes where its directory would.
	bare := filepath.Join(t.TempDir(), "bare")
	forestallRun(t, 0, append(flags, "--table", recent, "--trees", "10", "--continue", filepath.Join(first, model.TreesFile), "--out", bare)...)

	for want, args := range map[string][]string{
		"trained with wear=+1; give the same, or leave --monotone out":                 {"--continue", first, "--monotone", "temp=-1"},
		"--continue: there is no model " + first + "x: name the directory":             {"--continue", first + "x"},
		`column "at" is not among the features of the model to go on from`:             {"--continue", first, "--drop", "unit,hour,note"},
		`--continue: ` + old + `: not a usable LightGBM model: line 1: it begins with`: {"--continue", old},
		`: column "temp" is no categorical one in the model to go on from`:             {"--continue", first, "--categorical", "temp"},
		"--objective is regression; the model to go on from was trained for binary":    {"--continue", first, "--objective", "regression"},
	} {
		none := filepath.Join(t.TempDir(), "none")
		all := append([]string{"train", "--table", recent, "--label", "fails", "--out", none}, args...)
		if !strings.Contains(strings.Join(args, " "), "--drop") {
			all = append(all, "--drop", "unit,hour,note,at")
		}
		if _, stderr := forestallRun(t, 1, all...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q, want %q", args, stderr, want)
		}
	}
}

// A model of few trees from even odds still expects as many failures as there
// are: the card makes up for the rest of the way, and for weighted positives.
func TestTrainIntercept(t *testing.T) {
	const units, perUnit = 60, 10 // plainTable's positive rows
	table := plainTable(t, "t.csv", units, 1)
	for _, flags := range [][]string{{"--trees", "2"}, {"--trees", "20", "--scale-pos-weight", "20"}} {
		dir := filepath.Join(t.TempDir(), "m")
		forestallRun(t, 0, append([]string{"train", "--table", table, "--label", "fails", "--drop", "unit,hour,note,at", "--out", dir}, flags...)...)
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if c := m.Card.Calibration; c.Method != model.Platt || c.Slope != 1 || c.Intercept > -0.5 {
			t.Errorf("%v: calibration %+v", flags, c)
		}
		sum := 0.0
		for _, row := range predicted(t, 1, dir, table) {
			sum += row[0]
		}
		if math.Abs(sum/(units*perUnit)-1) > 1e-6 {
			t.Errorf("%v: the rows expect %v failures; there are %v", flags, sum, units*perUnit)
		}
	}
}
