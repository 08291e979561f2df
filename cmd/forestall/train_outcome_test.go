package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// withOutcome adds a column to a plain table: whether its row or one of the next
// two of the file fails, and nothing in the last tenth.
func withOutcome(t *testing.T, path string) (with string, rows, positives int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	label := slices.Index(strings.Split(lines[0], ","), "fails")
	var out bytes.Buffer
	out.WriteString(lines[0] + ",soon\n")
	lines = lines[1:]
	known := len(lines) * 9 / 10
	for i, line := range lines {
		y := "0"
		for _, later := range lines[i:min(i+3, len(lines))] {
			if strings.Split(later, ",")[label] == "1" {
				y = "1"
			}
		}
		if i >= known {
			y = ""
		} else if rows++; y == "1" {
			positives++
		}
		out.WriteString(line + "," + y + "\n")
	}
	with = filepath.Join(t.TempDir(), "with.csv")
	if err := os.WriteFile(with, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return with, rows, positives
}

// The trees learn one label, and the probabilities are of another: the rows whose
// outcome is not known yet train, and are left out of the fit.
func TestTrainCalibrateLabel(t *testing.T) {
	table, rows, positives := withOutcome(t, plainTable(t, "t.csv", 60, 1))
	run := func(flags ...string) *model.Model {
		dir := filepath.Join(t.TempDir(), "m")
		forestallRun(t, 0, append([]string{"train", "--table", table, "--label", "fails", "--drop", "note,at", "--group", "unit", "--time", "hour", "--trees", "20", "--leaves", "7", "--out", dir, "--calibrate-label", "soon"}, flags...)...)
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(m.Features(), "soon") {
			t.Error("the outcome is a feature")
		}
		return m
	}
	m := run("--members", "3", "--calibrate", "out-of-bag")
	if r := m.Card.Reliability; r.Rows != rows || r.Positives != positives || !strings.HasSuffix(r.Of, ", by soon") {
		t.Errorf("calibrated by %d rows, %d positive (%s), not the %d and %d whose outcome is known", r.Rows, r.Positives, r.Of, rows, positives)
	}
	if r := run("--calibrate", "20%").Card.Reliability; r.Rows == 0 || r.Positives == 0 || !strings.HasSuffix(r.Of, "by hour, by soon") {
		t.Errorf("a share: %+v", r)
	}
	other, rows, positives := withOutcome(t, plainTable(t, "u.csv", 40, 2))
	if r := run("--calibrate", other).Card.Reliability; r.Rows != rows || r.Positives != positives {
		t.Errorf("another table: %d rows, %d positive, not %d and %d", r.Rows, r.Positives, rows, positives)
	}
	if r := run("--members", "2", "--calibrate", "out-of-bag", "--train-window", "40", "--test-window", "20", "--recalibrate", "1000").Card.Recalibrated; r == nil || r.Observed == 0 {
		t.Errorf("recalibrated %+v", r)
	}
}

func TestTrainCalibrateLabelErrors(t *testing.T) {
	table, _, _ := withOutcome(t, plainTable(t, "t.csv", 20, 1))
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--calibrate-label", "soon"}, "--calibrate-label needs --calibrate"},
		{[]string{"--calibrate-label", "fails", "--calibrate", "20%"}, "--calibrate-label is --label"},
		{[]string{"--calibrate-label", "wear", "--calibrate", "20%"}, "with.csv: line 2: column wear: the label is "},
		{[]string{"--calibrate-label", "none", "--calibrate", "20%"}, `column "none" is missing`},
		{[]string{"--calibrate-label", "soon", "--calibrate", "20%", "--holdout", "20%", "--report", "r.html"}, "evaluate --label soon --report"},
	} {
		_, stderr := forestallRun(t, 1, append([]string{"train", "--table", table, "--label", "fails", "--drop", "note,at", "--group", "unit", "--time", "hour", "--out", filepath.Join(t.TempDir(), "m")}, tc.flags...)...)
		if !strings.Contains(stderr, tc.want) {
			t.Errorf("%v: %s, want %q", tc.flags, stderr, tc.want)
		}
	}
}
