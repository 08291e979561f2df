package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stratoswarm/forestall/train"
)

// TestTrainReport: the page says which rows judge the model, what else they were
// used for, and has alarms where the rows can have them.
func TestTrainReport(t *testing.T) {
	table, valid := plainTable(t, "train.csv", 40, 1), plainTable(t, "valid.csv", 15, 3)
	for name, c := range map[string]struct {
		flags     []string
		has, lack []string
	}{
		"a table": {
			[]string{"--drop", "unit,note,at", "--weight", "hour", "--valid", valid},
			[]string{"valid.csv", "No components or times were told", "Each row counts once here; it was trained with the weights of hour."},
			[]string{"--early-stopping", "--search", "was trained on", "calibrated on this table"},
		},
		"early stopping on it": {
			[]string{"--drop", "note,at", "--group", "unit", "--time", "hour", "--time-unit", "hours", "--valid", valid, "--early-stopping", "5"},
			[]string{"chosen on this table (--early-stopping)", "1,000 component-days", "Worst false alarms"},
			[]string{"--search", "No components or times", "calibrated on this table"},
		},
		"calibration on it": {
			[]string{"--drop", "unit,hour,note,at", "--valid", valid, "--calibrate", filepath.Dir(valid) + "/./valid.csv"},
			[]string{"calibrated on this table"},
			[]string{"chosen on"},
		},
		"a search": {
			[]string{"--drop", "unit,hour,note,at", "--valid", valid, "--search", "2", "--search-trees", "20", "--early-stopping", "5"},
			[]string{"number of trees were chosen on this table (--search)"},
			[]string{"--early-stopping"},
		},
		"the last rows": {
			[]string{"--drop", "note,at", "--group", "unit", "--time", "hour", "--holdout", "30%", "--early-stopping", "5"},
			[]string{"train.csv", "of the last 30 % of the rows by hour, no embargo, on which it was not trained", "chosen on these rows (--early-stopping)", "1,000 component-units"},
			[]string{"how well it remembers"},
		},
		"the last rows of those that do not calibrate": {
			[]string{"--drop", "note,at", "--group", "unit", "--time", "hour", "--holdout", "30%", "--calibrate", "20%"},
			[]string{"of the last 30 % of the rows by hour, no embargo, on which it was not trained"},
			[]string{"calibrated on this table", "chosen on these"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			page := filepath.Join(t.TempDir(), "page.html")
			flags := append([]string{"train", "--table", table, "--label", "fails", "--trees", "20", "--leaves", "7", "--out", filepath.Join(t.TempDir(), "m"), "--report", page}, c.flags...)
			if out, _ := forestallRun(t, 0, flags...); !strings.HasSuffix(out, "Wrote "+page+".\n") {
				t.Errorf("train says\n%s", out)
			}
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.has {
				if !strings.Contains(string(text), want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, not := range c.lack {
				if strings.Contains(string(text), not) {
					t.Errorf("the page has %q", not)
				}
			}
		})
	}
}

// TestTrainReportContinued: that an earlier training may have seen the rows is
// told.
func TestTrainReportContinued(t *testing.T) {
	dir := t.TempDir()
	first, page := filepath.Join(dir, "first"), filepath.Join(dir, "page.html")
	flags := []string{"train", "--table", plainTable(t, "t.csv", 20, 1), "--label", "fails", "--drop", "unit,note,at", "--time", "hour", "--trees", "5"}
	forestallRun(t, 0, append(flags, "--out", first)...)
	forestallRun(t, 0, append(flags, "--out", filepath.Join(dir, "second"), "--continue", first, "--holdout", "20%", "--report", page)...)
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "those of first, were trained on rows of this table") {
		t.Errorf("error %v, a page of %d bytes", err, len(text))
	}
}

// TestTrainReportRows: the rows of the page are those that judged, whichever
// were set apart before.
func TestTrainReportRows(t *testing.T) {
	table := plainTable(t, "t.csv", 40, 1)
	c, _ := parsedTrain(t, "--table", table, "--label", "fails", "--out", t.TempDir(), "--drop", "note,at,unit", "--trees", "3",
		"--time", "hour", "--holdout", "20%", "--calibrate", "25%")
	g := newGlobals(t.Context(), io.Discard, io.Discard)
	split, err := c.check()
	if err != nil {
		t.Fatal(err)
	}
	progress := newTrainProgress(g, false)
	in, err := c.read(g, progress, split, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.params()
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.fit(g, progress, in, p)
	if err != nil {
		t.Fatal(err)
	}
	k, err := train.ReadKeys(t.Context(), table, "hour", "", train.TimeUnit{})
	if err != nil {
		t.Fatal(err)
	}
	first, last, n := math.Inf(1), math.Inf(-1), 0
	for row, judges := range in.unseen {
		if judges {
			first, last, n = min(first, k.Time[row]), max(last, k.Time[row]), n+1
		}
	}
	fold := f.trials.Folds[0]
	if got := fmt.Sprintf("hour %g to %g", first, last); got != fold.Name || n != fold.Rows {
		t.Errorf("%s, %d rows; the fold is %s, %d rows", got, n, fold.Name, fold.Rows)
	}
	for _, row := range in.held.rows {
		if in.unseen[row] {
			t.Fatalf("row %d calibrates and judges", row)
		}
	}
}

// TestTrainReportInterrupted: Ctrl-C ends the training, and the page is about
// what there is.
func TestTrainReportInterrupted(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	ctx, cancel := context.WithCancel(t.Context())
	stderr := &onLine{text: `"tree":7,`, do: cancel}
	err := trainIn(ctx, t, stderr, "--table", plainTable(t, "t.csv", 40, 1), "--label", "fails", "--drop", "note,at,unit,hour", "--trees", "40",
		"--valid", plainTable(t, "valid.csv", 15, 2), "--json", "--out", filepath.Join(dir, "m"), "--report", page)
	if err != nil || stderr.do != nil {
		t.Fatalf("error %v\n%s", err, stderr)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "7 trees") {
		t.Errorf("error %v, a page of %d bytes", err, len(text))
	}
}

func TestTrainReportErrors(t *testing.T) {
	table := plainTable(t, "t.csv", 10, 5)
	out := filepath.Join(t.TempDir(), "m")
	for want, flags := range map[string][]string{
		"give --valid FILE, or --time COL --holdout":   {},
		"after folds or a search it is trained on all": {"--group", "unit", "--folds", "3"},
		"give --valid FILE instead of the split":       {"--time", "hour", "--holdout", "20%", "--search", "3"},
		"which objective regression has not":           {"--valid", table, "--objective", "regression"},
		"--report: stat nowhere":                       {"--valid", table, "--report", "nowhere/r.html"},
		"/r: this is a device or a pipe, whose place":  {"--valid", table, "--report", pipe(t, "r")},
	} {
		args := append([]string{"train", "--table", table, "--label", "fails", "--out", out, "--drop", "note", "--report", "r.html"}, flags...)
		if _, stderr := forestallRun(t, 1, args...); !strings.Contains(stderr, want) {
			t.Errorf("%v: %q does not say %q", flags, stderr, want)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatalf("%v: a model was written", flags)
		}
	}
}

// pipe makes a named pipe, which a page must not take the place of.
func pipe(t *testing.T, name string) string {
	path := filepath.Join(t.TempDir(), name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
