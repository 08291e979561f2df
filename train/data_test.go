package train

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stratoswarm/forestall/model"
)

// dataDir is the folder with the public data sets.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("DATA")
	if dir == "" {
		t.Skip("DATA is not set: it names the directory of the public data sets")
	}
	return dir
}

// figures scores a table and returns its AUC and average precision.
func figures(t *testing.T, e *model.Ensemble, path, label string) (auc, ap float64) {
	t.Helper()
	var score []float64
	var y []bool
	n := e.NumFeatures()
	err := ScanTable(context.Background(), path, append(e.Features(), label), func(row []float64) error {
		raw, err := e.Raw(row[:n])
		score, y = append(score, raw), append(y, row[n] == 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return model.ROCAUC(score, y), model.AveragePrecision(score, y)
}

// LightGBM was trained on the same table with the same parameters: the models
// are equally good on the engines that neither has seen.
func TestAsGoodAsLightGBM(t *testing.T) {
	dir := filepath.Join(dataDir(t), "lightgbm-reference")
	for _, tc := range []struct {
		name, reference, suffix string
		trees                   int
		spec                    Spec
	}{
		{"plain", "cmapss_ref", "", 60, Spec{}},
		{"zero missing", "cmapss_ref_zero", "", 60, Spec{ZeroMissing: true}},
		{"categorical", "cmapss_ref_cat", "_cat", 40, Spec{Categorical: []string{"firmware"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := tc.spec
			spec.Label, spec.Drop, spec.Objective = "fails_in_30", []string{"unit"}, Binary
			d, err := ReadDataset(context.Background(), filepath.Join(dir, "c_train"+tc.suffix+".csv.gz"), spec)
			if err != nil {
				t.Fatal(err)
			}
			p := DefaultParams()
			p.Trees, p.Leaves, p.L2, p.SampleRows = tc.trees, 15, 0, 1
			ours := mustEnsemble(t, mustTrain(t, d, p))
			theirs, err := model.ReadEnsemble(unzip(t, filepath.Join(dir, tc.reference+".txt.gz")))
			if err != nil {
				t.Fatal(err)
			}
			test := filepath.Join(dir, "c_test"+tc.suffix+".csv.gz")
			auc, ap := figures(t, ours, test, spec.Label)
			wantAUC, wantAP := figures(t, theirs, test, spec.Label)
			t.Logf("AUC %.5f, LightGBM %.5f; AP %.5f, LightGBM %.5f", auc, wantAUC, ap, wantAP)
			if auc < wantAUC-0.003 || ap < 0.95*wantAP {
				t.Error("worse than LightGBM")
			}
		})
	}
}

func unzip(t *testing.T, path string) *gzip.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// cmapssRow is one cycle of one engine.
type cmapssRow struct {
	unit   int
	values []float64 // three settings and 21 sensors
}

func cmapss(t *testing.T, path string) (rows []cmapssRow) {
	t.Helper()
	in := bufio.NewScanner(unzip(t, path))
	for in.Scan() {
		var row cmapssRow
		for i, word := range strings.Fields(in.Text()) {
			v, err := strconv.ParseFloat(word, 64)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case i == 0:
				row.unit = int(v)
			case i > 1: // the cycle is no feature
				row.values = append(row.values, v)
			}
		}
		rows = append(rows, row)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// asTable adds the means of the last 5, 15 and 30 cycles and labels rows that
// have at most 30 cycles left; rest holds what each engine has left after its
// last row.
func asTable(rows []cmapssRow, rest func(unit int) int) synthetic {
	spans := []int{5, 15, 30}
	width := len(rows[0].values)
	s := synthetic{columns: make([][]float64, width*(1+len(spans))), label: make([]float64, len(rows))}
	for f := range s.columns {
		s.names = append(s.names, fmt.Sprintf("f%d", f))
		s.columns[f] = make([]float64, len(rows))
	}
	last := map[int]int{}
	for i, r := range rows {
		last[r.unit] = i
	}
	for i, r := range rows {
		if last[r.unit]-i+rest(r.unit) <= 30 {
			s.label[i] = 1
		}
		for f, v := range r.values {
			s.columns[f][i] = v
			for k, span := range spans {
				sum, n := 0.0, 0
				for j := i; j >= 0 && j > i-span && rows[j].unit == r.unit; j-- {
					sum += rows[j].values[f]
					n++
				}
				s.columns[(k+1)*width+f][i] = sum / float64(n)
			}
		}
	}
	return s
}

// scikit-learn 1.2.1's HistGradientBoosting without early stopping, trained on
// the same rows and features, reaches an AUC of 0.9940 and 0.9968 and an AP of
// 0.846 and 0.876.
func TestCMAPSS(t *testing.T) {
	dir := filepath.Join(dataDir(t), "cmapss")
	for name, want := range map[string][2]float64{"FD001": {0.994, 0.845}, "FD003": {0.9965, 0.870}} {
		t.Run(name, func(t *testing.T) {
			var left []int
			in := bufio.NewScanner(unzip(t, filepath.Join(dir, "RUL_"+name+".txt.gz")))
			for in.Scan() {
				n, err := strconv.Atoi(strings.TrimSpace(in.Text()))
				if err != nil {
					t.Fatal(err)
				}
				left = append(left, n)
			}
			train := asTable(cmapss(t, filepath.Join(dir, "train_"+name+".txt.gz")), func(int) int { return 0 })
			test := asTable(cmapss(t, filepath.Join(dir, "test_"+name+".txt.gz")), func(unit int) int { return left[unit-1] })
			e := mustEnsemble(t, mustTrain(t, train.dataset(t, Spec{}), DefaultParams()))
			score, y := make([]float64, len(test.label)), make([]bool, len(test.label))
			for i := range score {
				score[i], _ = e.Raw(test.row(i))
				y[i] = test.label[i] == 1
			}
			auc, ap := model.ROCAUC(score, y), model.AveragePrecision(score, y)
			t.Logf("AUC %.4f, AP %.4f", auc, ap)
			if math.IsNaN(auc) || auc < want[0] || ap < want[1] {
				t.Errorf("AUC %.4f and AP %.4f; want at least %v", auc, ap, want)
			}
		})
	}
}
