package model

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reference is a model trained and evaluated by LightGBM itself.
type reference struct {
	text    []byte
	rows    [][]float64
	raw     []float64
	contrib [][]float64
}

// loadReference reads a reference model and its predictions from $DATA, which
// holds the directory lightgbm-reference.
func loadReference(t testing.TB, name, table string) reference {
	data := os.Getenv("DATA")
	if data == "" {
		t.Skip("DATA is not set: it names the directory that holds lightgbm-reference, LightGBM's own predictions to compare with")
	}
	read := func(file string) []byte {
		f, err := os.Open(filepath.Join(data, "lightgbm-reference", file+".gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	table1 := numbers(t, read(table), ",", true)
	for i := range table1 {
		table1[i] = table1[i][:len(table1[i])-1] // the label
	}
	ref := reference{
		text:    read(name + ".txt"),
		rows:    table1,
		contrib: numbers(t, read(name+"_predict_contrib.txt"), "\t", false),
	}
	for _, r := range numbers(t, read(name+"_predict_raw_score.txt"), "\t", false) {
		ref.raw = append(ref.raw, r[0])
	}
	if len(ref.raw) != len(ref.rows) || len(ref.contrib) != len(ref.rows) {
		t.Fatalf("%d rows, %d scores, %d contributions", len(ref.rows), len(ref.raw), len(ref.contrib))
	}
	return ref
}

func numbers(t testing.TB, b []byte, sep string, header bool) (rows [][]float64) {
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		if header {
			header = false
			continue
		}
		var row []float64
		for _, w := range strings.Split(s.Text(), sep) {
			v, err := strconv.ParseFloat(w, 64)
			if w == "" {
				v = math.NaN()
			} else if err != nil {
				t.Fatal(err)
			}
			row = append(row, v)
		}
		rows = append(rows, row)
	}
	return rows
}

var references = []struct{ name, table string }{
	{"cmapss_ref", "c_test.csv"},
	{"cmapss_ref_zero", "c_test.csv"},
	{"cmapss_ref_cat", "c_test_cat.csv"},
}

// TestReference: the reader, the evaluator, the explanations and the writer
// agree with LightGBM on every row to 1e-9.
func TestReference(t *testing.T) {
	for _, r := range references {
		t.Run(r.name, func(t *testing.T) {
			ref := loadReference(t, r.name, r.table)
			e, err := ReadEnsemble(bytes.NewReader(ref.text))
			if err != nil {
				t.Fatal(err)
			}
			compareReference(t, e, ref)
			card := Card{Format: CardFormat, Name: r.name, Version: "1", Features: e.Features(), Horizon: Duration(time.Hour)}
			if _, err := New(ref.text, card); err != nil {
				t.Errorf("the second opinion: %v", err)
			}
		})
	}
}

func compareReference(t *testing.T, e *Ensemble, ref reference) {
	t.Helper()
	dst := make([]float64, e.NumFeatures()+1)
	batch := make([]float64, len(ref.rows))
	var flat []float64
	worst, worstContribution := 0.0, 0.0
	for i, row := range ref.rows {
		raw, err := e.Raw(row)
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, math.Abs(raw-ref.raw[i]))
		if err := e.Contributions(row, dst); err != nil {
			t.Fatal(err)
		}
		for f, v := range dst {
			worstContribution = max(worstContribution, math.Abs(v-ref.contrib[i][f]))
		}
		flat = append(flat, row...)
	}
	if err := e.RawBatch(flat, batch); err != nil {
		t.Fatal(err)
	}
	for i, row := range ref.rows {
		if one, _ := e.Raw(row); one != batch[i] {
			t.Fatalf("row %d: %v alone, %v in a batch", i, one, batch[i])
		}
	}
	t.Logf("%d rows: largest difference %.2g in scores, %.2g in contributions", len(ref.rows), worst, worstContribution)
	if !(worst <= 1e-9) || !(worstContribution <= 1e-9) {
		t.Errorf("differs from LightGBM by %g in scores and %g in contributions", worst, worstContribution)
	}
}
