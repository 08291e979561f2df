package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall/train"
)

// Columns of a table of snapshots, besides the features.
const (
	labelColumn     = "fails"
	componentColumn = "component"
	timeColumn      = "time"
)

// snapshot is what is known of a component at one time, and what came to pass.
// Its features are valid until the next one is made.
type snapshot struct {
	fails     bool
	component int
	time      float64 // in the data set's unit
	features  []float64
}

// fold is a pair of tables: one to train on, one to test on. Each function
// passes the snapshots of one of them to emit.
type fold struct {
	name     string
	features []string
	train    func(emit func(snapshot) error) error
	test     func(emit func(snapshot) error) error
}

// tables are a fold's files and what the test rows hold beside the features.
type tables struct {
	train, test string
	features    int
	label       []bool
	component   []int
}

// positives returns how many test rows are positive.
func (t *tables) positives() (n int) {
	for _, y := range t.label {
		if y {
			n++
		}
	}
	return n
}

// writeTables writes a fold's tables into a directory as CSV: the label, the
// features, the component, the time. Those that are there already, from a run
// before, are taken as they are.
func writeTables(ctx context.Context, dir string, f fold) (tables, error) {
	t := tables{train: filepath.Join(dir, "train.csv"), test: filepath.Join(dir, "test.csv"), features: len(f.features)}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return t, err
	}
	columns := append(append([]string{labelColumn}, f.features...), componentColumn, timeColumn)
	for path, snapshots := range map[string]func(func(snapshot) error) error{t.train: f.train, t.test: f.test} {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		var row []float64
		err := writeTable(ctx, path, columns, func(emit func([]float64) error) error {
			return snapshots(func(s snapshot) error {
				row = append(row[:0], 0)
				if s.fails {
					row[0] = 1
				}
				row = append(append(row, s.features...), float64(s.component), s.time)
				return emit(row)
			})
		})
		if err != nil {
			return t, fmt.Errorf("write %s: %w", path, err)
		}
	}
	err := train.ScanTable(ctx, t.test, []string{labelColumn, componentColumn}, func(row []float64) error {
		t.label = append(t.label, row[0] == 1)
		t.component = append(t.component, int(row[1]))
		return nil
	})
	return t, err
}

// writeTable writes rows as CSV. Values are printed with the digits of a
// float32, which is what XGBoost holds: both trainers see the same.
func writeTable(ctx context.Context, path string, columns []string, rows func(emit func([]float64) error) error) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprintln(w, strings.Join(columns, ","))
	var line []byte
	n := 0
	err = rows(func(row []float64) error {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line = line[:0]
		for _, v := range row {
			line = append(appendCell(line, v), ',')
		}
		line[len(line)-1] = '\n'
		_, err := w.Write(line)
		return err
	})
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

func appendCell(b []byte, v float64) []byte {
	if v != v {
		return append(b, "nan"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 32)
}

// readCSV passes the named columns of a gzip CSV file to visit, as text.
func readCSV(path string, columns []string, visit func(cell []string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := scanCSV(z, columns, visit); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func scanCSV(in io.Reader, columns []string, visit func(cell []string) error) error {
	r := csv.NewReader(in)
	r.ReuseRecord = true
	header, err := r.Read()
	if err != nil {
		return err
	}
	at := make([]int, len(columns))
	for i, name := range columns {
		at[i] = -1
		for j, have := range header {
			if have == name {
				at[i] = j
			}
		}
		if at[i] < 0 {
			return fmt.Errorf("line 1: column %q is missing", name)
		}
	}
	cell := make([]string, len(columns))
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i, j := range at {
			cell[i] = record[j]
		}
		if err := visit(cell); err != nil {
			line, _ := r.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// number reads a cell; an empty one is missing.
func number(cell string) (float64, error) {
	if cell == "" {
		return math.NaN(), nil
	}
	return strconv.ParseFloat(cell, 64)
}

// numbers reads cells that must all be there.
func numbers(cells []string) ([]float64, error) {
	out := make([]float64, len(cells))
	for i, c := range cells {
		v, err := strconv.ParseFloat(c, 64)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}
