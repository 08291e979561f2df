package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// hourly writes a table of one row an hour and unit. x rises with the risk.
func hourly(t *testing.T, name string, hours int, fails func(hour, unit int) bool) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("hour,unit,x,fails\n")
	for hour := range hours {
		for unit := range 10 {
			y := 0
			if fails(hour, unit) {
				y = 1
			}
			fmt.Fprintf(&b, "%d,%d,%d,%d\n", hour, unit, y*10+unit, y)
		}
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// What would make a model of one class, or a calibration that cannot be done, is
// found out before anything is trained.
func TestTrainClasses(t *testing.T) {
	late := hourly(t, "late.csv", 100, func(hour, unit int) bool { return hour >= 80 && unit == 3 })
	early := hourly(t, "early.csv", 100, func(hour, unit int) bool { return hour%10 == 1 && hour < 70 && unit == 3 })
	unit := hourly(t, "unit.csv", 100, func(_, unit int) bool { return unit == 3 })
	for _, tc := range []struct {
		table string
		flags []string
		want  string
	}{
		{late, []string{"--time", "hour", "--calibrate", "30%"}, "--calibrate 30% sets the last 30 % of the rows by hour apart: 0 of the 700 rows that remain to train on are positive; both classes are needed: set less apart, or give --calibrate a table of its own"},
		{early, []string{"--time", "hour", "--calibrate", "20%"}, "--calibrate 20% sets the last 20 % of the rows by hour apart: 0 of the 200 rows set apart are positive; both classes are needed: set more apart"},
		{unit, []string{"--group", "unit", "--calibrate", "20%"}, "--calibrate 20% sets components with 20 % of the rows by unit apart: "},
		{early, []string{"--time", "hour", "--train-window", "20", "--test-window", "50"}, "the model is trained on the newest training window, the last 20 of hour, and 0 of its 200 rows are positive; both classes are needed: lengthen --train-window"},
	} {
		out := filepath.Join(t.TempDir(), "m")
		args := append([]string{"train", "--table", tc.table, "--label", "fails", "--out", out, "--min-leaf", "5", "--json"}, tc.flags...)
		if !strings.Contains(strings.Join(tc.flags, " "), "unit") {
			args = append(args, "--drop", "unit")
		} else {
			args = append(args, "--drop", "hour")
		}
		_, stderr := forestallRun(t, 1, args...)
		if !strings.Contains(stderr, tc.want) || strings.Contains(stderr, `"tree"`) {
			t.Errorf("%v: %q, want %q", tc.flags, stderr, tc.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: a model was written", tc.flags)
		}
	}
}

// copyOf writes the same bytes to another file.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "copy.csv")
	if err := os.WriteFile(other, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return other
}

func TestTrainCalibrateFile(t *testing.T) {
	table, valid, later := plainTable(t, "t.csv", 20, 1), plainTable(t, "valid.csv", 10, 2), plainTable(t, "later.csv", 10, 3)
	write := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	healthy := write("healthy.csv", "wear,temp,fails\n1,2,0\n2,3,0\n")
	bad := write("bad.csv", "wear,temp,fails\n1,2,0\n2,x,1\n")
	label := write("label.csv", "wear,temp,fails\n1,2,0\n2,3,2\n")
	unknown := write("unknown.csv", "wear,temp,fails\n1,2,0\n2,3,\n")
	group := write("group.csv", "wear,temp,fails,unit\n1,2,0,3\n2,3,1,\n")
	base := filepath.Join(t.TempDir(), "base")
	flags := []string{"train", "--label", "fails", "--drop", "note,at,hour", "--group", "unit", "--trees", "3", "--json"}
	forestallRun(t, 0, append(flags, "--table", later, "--out", base)...)
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--calibrate", healthy}, "--calibrate " + healthy + ": 0 of its 2 rows are positive; both classes are needed"},
		{[]string{"--calibrate", bad}, bad + ": line 3, column 2 (temp)"},
		{[]string{"--calibrate", label}, label + ": line 3, column 3 (fails): the label is 2"},
		{[]string{"--calibrate", unknown}, unknown + ": line 3, column 3 (fails): the label is missing"},
		{[]string{"--calibrate", group}, "column unit: the cell is empty"},
		{[]string{"--calibrate", table}, "the model is trained on these rows: give others"},
		{[]string{"--calibrate", copyOf(t, table)}, "the model is trained on these rows: give others"},
		{[]string{"--valid", table}, "so they cannot judge it: give others"},
		{[]string{"--valid", copyOf(t, table)}, "so they cannot judge it: give others"},
		{[]string{"--valid", valid, "--early-stopping", "3", "--calibrate", valid}, "the rows of --valid choose"},
		{[]string{"--valid", valid, "--early-stopping", "3", "--calibrate", copyOf(t, valid)}, "the rows of --valid choose"},
		{[]string{"--calibrate", later, "--continue", base}, "the model of --continue was trained on these rows"},
		{[]string{"--valid", later, "--continue", base}, "the model of --continue was trained on these rows"},
	} {
		out := filepath.Join(t.TempDir(), "m")
		_, stderr := forestallRun(t, 1, append(append(flags, "--table", table, "--out", out), tc.flags...)...)
		if !strings.Contains(stderr, tc.want) || strings.Contains(stderr, `"tree"`) {
			t.Errorf("%v: %q, want %q", tc.flags, stderr, tc.want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%v: a model was written", tc.flags)
		}
	}
	// A table that only judges may calibrate too.
	forestallRun(t, 0, append(flags, "--table", table, "--out", base, "--valid", valid, "--calibrate", valid)...)
}

// A model is kept when its calibration fails.
func TestTrainCalibrationFails(t *testing.T) {
	table := hourly(t, "t.csv", 100, func(hour, unit int) bool { return hour%10 == unit })
	var b strings.Builder
	b.WriteString("x,fails\n")
	for i := range 100 { // the wrong way round
		fmt.Fprintf(&b, "%d,%d\n", i%20, 1-i%20/10)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.csv")
	if err := os.WriteFile(wrong, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "m")
	out, stderr := forestallRun(t, 1, "train", "--table", table, "--label", "fails", "--drop", "hour,unit", "--calibrate", wrong, "--calibration", "platt", "--trees", "5", "--out", dir)
	if !strings.Contains(stderr, "the model is written, but --calibrate could not be done") || !strings.Contains(stderr, "the score does not rise with the label") || !strings.Contains(out, "Wrote ") {
		t.Errorf("train says %q, %q", out, stderr)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c := m.Card; m.Trees() != 5 || c.Calibration.Slope != 1 || c.Reliability != nil {
		t.Errorf("%d trees, calibration %+v, reliability %+v", m.Trees(), c.Calibration, c.Reliability)
	}
}

// While a model is trained, memory does not hold rows that it is not trained on.
func TestTrainLetsGo(t *testing.T) {
	path := plainTable(t, "t.csv", 60, 1)
	for name, flags := range map[string][]string{
		"holdout":     {"--holdout", "20%"},
		"prequential": {"--train-window", "40", "--test-window", "20"},
		"calibration": {"--train-window", "40", "--test-window", "20", "--calibrate", "20%"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := parsedTrain(t, append(flags, "--table", path, "--out", t.TempDir(), "--label", "fails", "--drop", "note,at,unit", "--time", "hour", "--trees", "5", "--json")...)
			split, err := c.check()
			if err != nil {
				t.Fatal(err)
			}
			p, err := c.params()
			if err != nil {
				t.Fatal(err)
			}
			var table weak.Pointer[train.Dataset]
			stderr := &onLine{text: `{"leaves" "tree":2,`, do: func() { // of the model, not of a fold
				runtime.GC()
				if table.Value() != nil {
					t.Error("the table is still there")
				}
			}}
			g := newGlobals(t.Context(), io.Discard, stderr)
			progress := newTrainProgress(g, true)
			in, err := c.read(g, progress, split, nil)
			if err != nil {
				t.Fatal(err)
			}
			if rows := in.table.Rows(); rows+len(in.held.rows) != in.rows || (len(in.held.rows) > 0) != (name == "calibration") {
				t.Errorf("%d of %d rows, %d are held", rows, in.rows, len(in.held.rows))
			}
			table = weak.Make(in.table)
			if _, err := c.fit(g, progress, in, p); err != nil {
				t.Fatal(err)
			}
			if stderr.do != nil {
				t.Fatalf("no tree was reported:\n%s", stderr)
			}
		})
	}
}

// Rows that are no longer there are not taken for rows that score 0.
func TestCalibrateOnAChangedTable(t *testing.T) {
	dir, table := wearModel(t)
	m, err := loadModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &trainCmd{Label: "fails"}
	if _, err := c.score(t.Context(), m.Ensemble, table, held{share: 0.1, rows: []int{1_000_000, 3}}); err == nil || !strings.Contains(err.Error(), table+": the file changed while it was used: it has ") {
		t.Errorf("error %v", err)
	}
}
