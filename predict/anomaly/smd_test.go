package anomaly

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
)

// TestLearnerOnServers gives the figures of docs/operations.md: a learner watches
// real servers (SMD, a row of 38 metrics a minute) through days without labels and
// then through days whose incidents are labelled, and goes on learning.
func TestLearnerOnServers(t *testing.T) {
	dir := os.Getenv("FORESTALL_SMD")
	if dir == "" {
		t.Skip("FORESTALL_SMD does not name the directory with machine-*_train.csv.gz; set it to judge the learner on SMD's servers")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "machine-*_train.csv.gz"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no machine-*_train.csv.gz (%v)", dir, err)
	}
	for _, alarms := range []float64{1, 2, 3} {
		cfg := learnConfig(alarms)
		caught, incidents, others, days := 0, 0, 0, 0.0
		for _, path := range paths {
			l, at := NewLearner(&cfg), start
			push := func(row []float64) bool {
				at = at.Add(time.Minute)
				samples := make([]forestall.Sample, len(row))
				for c, v := range row {
					samples[c] = forestall.Sample{Component: gpu0, Metric: fmt.Sprint("m", c), Time: at, Value: v}
				}
				l.Scrape(at, samples)
				return l.Standing().State == forestall.Unusual // of the row before
			}
			for _, row := range rowsOf(t, path) {
				push(row)
			}
			var label, before, hit, was bool
			for _, row := range rowsOf(t, strings.Replace(path, "_train", "_test", 1)) {
				unusual := push(row[:len(row)-1])
				if label && !before {
					incidents++
					hit = false
				}
				if label && unusual && !hit {
					hit = true
					caught++
				}
				if unusual && !was && !label {
					others++
				}
				was, before, label = unusual, label, row[len(row)-1] == 1
				days += 1 / stepsPerDay
			}
		}
		t.Logf("%v alarms a day are borne: %d of %d incidents caught, %.2f other alarms a day", alarms, caught, incidents, float64(others)/days)
	}
}

func rowsOf(t *testing.T, path string) (rows [][]float64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := csv.NewReader(z)
	for {
		cells, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float64, len(cells))
		for i, c := range cells {
			if row[i], err = strconv.ParseFloat(c, 64); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}
}
