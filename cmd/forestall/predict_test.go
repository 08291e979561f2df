package main

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// TestPredictInOrder: what goes through several goroutines comes out in the
// table's order, each row as if it were alone.
func TestPredictInOrder(t *testing.T) {
	table := plainTable(t, "t.csv", 60, 6)
	dir := filepath.Join(t.TempDir(), "m")
	forestallRun(t, 0, "train", "--table", table, "--label", "fails", "--drop", "unit,note,at", "--trees", "20", "--out", dir)
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	printed := predicted(t, 2+m.NumFeatures(), dir, table, "--contributions")
	i := 0
	shares := make([]float64, m.NumFeatures()+1)
	err = train.ScanTable(t.Context(), table, m.Features(), func(row []float64) error {
		p, err := m.Probability(row)
		if err := errors.Join(err, m.Contributions(row, shares)); err != nil {
			return err
		}
		for k, want := range append([]float64{p}, shares...) {
			if math.Abs(printed[i][k]-want) > 1e-15 {
				t.Fatalf("row %d, column %d: %v is printed instead of %v", i, k, printed[i][k], want)
			}
		}
		i++
		return err
	})
	if err != nil || i != len(printed) || i < 4*blockRows {
		t.Errorf("%d rows, %d printed, %v", i, len(printed), err)
	}

	// A bad cell ends the output after the row before it.
	text, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	lines[700] = strings.Replace(lines[700], ",", ",x", 1)
	bad := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(bad, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, stderr := forestallRun(t, 1, "predict", "--model", dir, "--table", bad)
	if n := strings.Count(out, "\n"); n != 700 || !strings.Contains(stderr, "line 701, column 2 (hour)") {
		t.Errorf("%d lines, %q", n, stderr)
	}

	// A reader of the output that has gone ends it at once.
	gone := errors.New("gone")
	err = (&predictCmd{Table: table}).predict(t.Context(), m, writerFunc(func([]byte) (int, error) { return 0, gone }))
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), table) {
		t.Errorf("error %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	err = (&predictCmd{Table: table}).predict(stopped, m, writerFunc(func(b []byte) (int, error) { return len(b), nil }))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
