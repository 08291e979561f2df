package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/dmitryikh/leaves"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// reference compares reader, evaluator and explanations with what LightGBM
// itself said of three models, and the same models in leaves.
func (b *benchmark) reference(ctx context.Context) error {
	const what, bar = "largest difference to LightGBM", "at most 1e-9"
	skip := func(why string) error {
		b.lines = append(b.lines, line{what: what, bar: bar, verdict: "skipped: " + why})
		return nil
	}
	dir := filepath.Join(b.data, "lightgbm-reference")
	if b.data == "" {
		return skip("DATA is not set")
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return skip(err.Error())
	}
	for _, r := range []struct{ what, name, table string }{
		{"NaN missing", "cmapss_ref", "c_test.csv.gz"},
		{"zero missing", "cmapss_ref_zero", "c_test.csv.gz"},
		{"categorical", "cmapss_ref_cat", "c_test_cat.csv.gz"},
	} {
		d, err := agree(ctx, dir, r.name, r.table)
		if err != nil {
			return err
		}
		b.add(what+", "+r.what+"; peer: leaves", fmt.Sprintf("scores %.2g, contributions %.2g (%d rows)", d.score, d.contribution, d.rows),
			fmt.Sprintf("scores %.2g", d.leaves), bar, d.score <= 1e-9 && d.contribution <= 1e-9 && d.leaves <= 1e-9)
	}
	return nil
}

// agreement is the largest differences to LightGBM's figures.
type agreement struct {
	rows                        int
	score, contribution, leaves float64
}

func agree(ctx context.Context, dir, name, table string) (d agreement, err error) {
	text, err := unzip(filepath.Join(dir, name+".txt.gz"))
	if err != nil {
		return d, err
	}
	e, err := model.ReadEnsemble(bytes.NewReader(text))
	if err != nil {
		return d, err
	}
	other, err := leaves.LGEnsembleFromReader(bufio.NewReader(bytes.NewReader(bytes.Replace(text, []byte("version=v4"), []byte("version=v3"), 1))), false)
	if err != nil {
		return d, err
	}
	var raw, contributions []float64
	read := func(file string, n int, into *[]float64) error {
		return readFields(filepath.Join(dir, file), n, func(v []float64) { *into = append(*into, v...) })
	}
	w := e.NumFeatures()
	if err := read(name+"_predict_raw_score.txt.gz", 1, &raw); err != nil {
		return d, err
	}
	if err := read(name+"_predict_contrib.txt.gz", w+1, &contributions); err != nil {
		return d, err
	}
	got := make([]float64, w+1)
	err = train.ScanTable(ctx, filepath.Join(dir, table), e.Features(), func(row []float64) error {
		if d.rows >= len(raw) || (d.rows+1)*(w+1) > len(contributions) {
			return errors.New("LightGBM has scored fewer rows")
		}
		score, err := e.Raw(row)
		if err != nil {
			return err
		}
		if err := e.Contributions(row, got); err != nil {
			return err
		}
		d.score = max(d.score, math.Abs(score-raw[d.rows]))
		d.leaves = max(d.leaves, math.Abs(other.PredictSingle(row, 0)-raw[d.rows]))
		for i, v := range got {
			d.contribution = max(d.contribution, math.Abs(v-contributions[d.rows*(w+1)+i]))
		}
		d.rows++
		return nil
	})
	return d, err
}

func unzip(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(z)
}
