package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// NASA's C-MAPSS turbofans: simulated engines, a row per cycle, run until they
// fail (train) or cut off before (test, with the remaining cycles in a file).
// A row is positive when the engine has at most 30 cycles left. The features
// are the cycle, the three settings, the 21 sensors and the means of settings
// and sensors over the last 5, 15 and 30 cycles.
const (
	cmapssHorizon = 30
	cmapssColumns = 24 // settings and sensors
)

var cmapssWindows = []int{5, 15, 30}

// cycle is a row of an engine's life; its index is the cycle, from 0.
type cycle [cmapssColumns]float64

// engine is the recorded part of one's life.
type engine struct {
	unit   int
	cycles []cycle
	left   int // cycles left after the last recorded one
}

func cmapss(dir, set string) ([]fold, error) {
	learn, test, err := readCmapss(dir, set)
	if err != nil {
		return nil, err
	}
	return []fold{cmapssFold(set, learn, test)}, nil
}

func readCmapss(dir, set string) (learn, test []engine, err error) {
	if learn, err = readEngines(filepath.Join(dir, "train_"+set+".txt.gz"), ""); err != nil {
		return nil, nil, err
	}
	test, err = readEngines(filepath.Join(dir, "test_"+set+".txt.gz"), filepath.Join(dir, "RUL_"+set+".txt.gz"))
	return learn, test, err
}

func cmapssFold(set string, learn, test []engine) fold {
	return fold{
		name: set, features: cmapssFeatures(),
		train: func(emit func(snapshot) error) error { return emitEngines(learn, emit) },
		test:  func(emit func(snapshot) error) error { return emitEngines(test, emit) },
	}
}

func cmapssFeatures() []string {
	var base []string
	for i := range 3 {
		base = append(base, fmt.Sprintf("setting%d", i+1))
	}
	for i := range cmapssColumns - 3 {
		base = append(base, fmt.Sprintf("sensor%d", i+1))
	}
	names := append([]string{"cycle"}, base...)
	for _, w := range cmapssWindows {
		for _, b := range base {
			names = append(names, fmt.Sprintf("%s_mean%d", b, w))
		}
	}
	return names
}

// features returns what is known at a cycle, counted from 0.
func (e *engine) features(at int) []float64 {
	row := append([]float64{float64(at + 1)}, e.cycles[at][:]...)
	for _, w := range cmapssWindows {
		seen := e.cycles[max(0, at+1-w) : at+1]
		for c := range cmapssColumns {
			sum := 0.0
			for i := range seen {
				sum += seen[i][c]
			}
			row = append(row, sum/float64(len(seen)))
		}
	}
	return row
}

// remaining returns the cycles left at a cycle, counted from 0.
func (e *engine) remaining(at int) int { return len(e.cycles) - 1 - at + e.left }

func emitEngines(engines []engine, emit func(snapshot) error) error {
	for i := range engines {
		e := &engines[i]
		for at := range e.cycles {
			s := snapshot{
				fails: e.remaining(at) <= cmapssHorizon, component: e.unit, time: float64(at + 1),
				features: e.features(at),
			}
			if err := emit(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func readEngines(path, left string) ([]engine, error) {
	var engines []engine
	err := readFields(path, 2+cmapssColumns, func(v []float64) {
		unit := int(v[0])
		if len(engines) == 0 || engines[len(engines)-1].unit != unit {
			engines = append(engines, engine{unit: unit})
		}
		e := &engines[len(engines)-1]
		e.cycles = append(e.cycles, cycle(v[2:]))
	})
	if err != nil || left == "" {
		return engines, err
	}
	i := 0
	err = readFields(left, 1, func(v []float64) {
		if i < len(engines) {
			engines[i].left = int(v[0])
		}
		i++
	})
	if err == nil && i != len(engines) {
		err = fmt.Errorf("%s: %d rows for %d engines", left, i, len(engines))
	}
	return engines, err
}

// readFields reads rows of n numbers with blanks between, gzip.
func readFields(path string, n int, visit func([]float64)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := scanFields(z, n, visit); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func scanFields(in io.Reader, n int, visit func([]float64)) error {
	lines := bufio.NewScanner(in)
	for line := 1; lines.Scan(); line++ {
		cells := strings.Fields(lines.Text())
		if len(cells) == 0 {
			continue
		}
		if len(cells) != n {
			return fmt.Errorf("line %d: %d columns; there must be %d", line, len(cells), n)
		}
		row, err := numbers(cells)
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		visit(row)
	}
	return lines.Err()
}
