package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/train"
)

// benchmark is one run of all comparisons on one table.
type benchmark struct {
	options
	dir     string
	rows    int
	rounds  int
	threads int
	params  train.Params
	px      *peer // nil: not there

	train, test string // CSV with a header
	bare        string // the training table without one, for XGBoost's reader
	label       []bool // of the test rows
	values      []float64
	text        []byte // our model
	scores      []float64

	lines  []line
	failed bool
}

// line is a line of the table that is printed.
type line struct{ what, ours, theirs, bar, verdict string }

// add notes a comparison and whether it is within its bar.
func (b *benchmark) add(what, ours, theirs, bar string, ok bool) {
	l := line{what, ours, theirs, bar, "PASS"}
	switch {
	case bar == "":
		l.verdict = ""
	case !ok:
		l.verdict = "FAIL"
		b.failed = true
	}
	b.lines = append(b.lines, l)
}

// addBeside notes a comparison with XGBoost, which says nothing without it.
func (b *benchmark) addBeside(what, ours, theirs, bar string, ok bool) {
	if b.px == nil {
		b.lines = append(b.lines, line{what, ours, "-", bar, "skipped: no XGBoost"})
		return
	}
	b.add(what, ours, theirs, bar, ok)
}

// bench prints one table with everything side by side.
func bench(ctx context.Context, o options, dir string) (err error) {
	b := &benchmark{options: o, dir: dir, rows: 1_000_000, rounds: 3, threads: 2}
	if o.short {
		b.rows, b.rounds = 100_000, 1
	}
	b.params = train.DefaultParams()
	b.params.Leaves, b.params.Threads = 63, b.threads
	b.params.MinHessian, b.params.MinLeaf = 1, 1 // XGBoost's default, and no bound of its kind
	b.params.Start = 0                           // even odds: its base_score of 0.5
	b.params.SampleRows = 1                      // all rows: its subsample of 1
	px, err := startPeer(ctx, dir)
	switch {
	case errors.Is(err, errNoPeer):
		tell("Without XGBoost's figures: %v.", err)
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, px.stop()) }()
		b.px = px
	}
	for _, part := range []func(context.Context) error{
		b.tables, b.boosting, b.wholeWay, b.determinism, b.evaluation, b.explanation, b.reference,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	b.print()
	if b.failed {
		return errBelow
	}
	return nil
}

func (b *benchmark) print() {
	fmt.Printf("%s; %s; %s.\n%d x %d, %d trees of %d leaves, %d bins, learning rate %v, from even odds, sum of hessians of a leaf at least %v, %d threads; median of %d.\n\n",
		b.now.Format("2006-01-02"), machine(), versions(b.px), b.rows, syntheticFeatures,
		b.params.Trees, b.params.Leaves, maxBin, b.params.LearningRate, b.params.MinHessian, b.threads, b.rounds)
	fmt.Print("| what | ours | peer | bar | |\n|---|---|---|---|---|\n")
	for _, l := range b.lines {
		fmt.Printf("| %s | %s | %s | %s | %s |\n", l.what, l.ours, l.theirs, l.bar, l.verdict)
	}
}

// tables writes the tables and reads the test rows.
func (b *benchmark) tables(ctx context.Context) error {
	b.train = filepath.Join(b.dir, fmt.Sprintf("train-%d.csv", b.rows))
	b.test = filepath.Join(b.dir, fmt.Sprintf("test-%d.csv", b.rows/5))
	b.bare = filepath.Join(b.dir, fmt.Sprintf("train-%d-bare.csv", b.rows))
	for _, t := range []struct {
		path string
		rows int
		seed uint64
	}{{b.train, b.rows, 1}, {b.test, b.rows / 5, 2}} {
		if _, err := os.Stat(t.path); err == nil {
			continue
		}
		tell("write %s", t.path)
		err := writeTable(ctx, t.path, syntheticColumns(), func(emit func([]float64) error) error {
			return synthetic(t.rows, t.seed, emit)
		})
		if err != nil {
			return err
		}
	}
	if err := withoutHeader(b.train, b.bare); err != nil {
		return err
	}
	return train.ScanTable(ctx, b.test, syntheticColumns(), func(row []float64) error {
		b.label = append(b.label, row[0] == 1)
		b.values = append(b.values, row[1:]...)
		return nil
	})
}

// withoutHeader copies a file without its first line.
func withoutHeader(from, to string) error {
	text, err := os.Open(from)
	if err != nil {
		return err
	}
	defer text.Close()
	head := make([]byte, 1<<16)
	n, err := io.ReadFull(text, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	end := bytes.IndexByte(head[:n], '\n')
	if _, err := text.Seek(int64(end)+1, io.SeekStart); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, text)
	return errors.Join(err, out.Close())
}

// boosting compares the training alone, on data that is binned already, on a
// quiet machine and beside a busy process; and what the models are worth.
func (b *benchmark) boosting(ctx context.Context) error {
	tell("read the tables")
	start := time.Now()
	d, err := train.ReadDataset(ctx, b.train, train.Spec{
		Label: labelColumn, Objective: train.Binary, MaxBin: maxBin, Seed: b.params.Seed, Threads: b.threads,
	})
	if err != nil {
		return err
	}
	reading := time.Since(start).Seconds()
	binning := math.NaN()
	if b.px != nil {
		if _, err := b.px.load(b.train, b.test, syntheticFeatures, b.threads); err != nil {
			return err
		}
		// The first tree on a table makes the bins; they are kept.
		var a [2]answer
		for i := range a {
			if a[i], err = b.px.boost(b.params, 1); err != nil {
				return err
			}
		}
		binning = a[0].First - a[1].First
	}
	ours := func() (float64, error) {
		start := time.Now()
		r, err := train.Train(ctx, d, nil, b.params, nil)
		took := time.Since(start).Seconds()
		if err == nil {
			b.text, err = r.Text()
		}
		return took, err
	}
	theirs := func() (float64, error) {
		a, err := b.px.boost(b.params, b.params.Trees)
		return a.Seconds, err
	}
	quiet, err := b.duel("boosting", ours, theirs)
	if err != nil {
		return err
	}
	var loaded duel
	err = busy(ctx, func() (err error) {
		loaded, err = b.duel("boosting beside a busy process", ours, theirs)
		return err
	})
	if err != nil {
		return err
	}
	b.add("read the CSV into bins; XGBoost: binning of what is read", seconds(reading), seconds(binning), "", true)
	b.addBeside("boosting alone", seconds(quiet.ours), seconds(quiet.theirs), "at most 0.6x", quiet.ratio() <= 0.6)
	slower := fmt.Sprintf("%s (%.1fx of alone)", seconds(loaded.ours), loaded.ours/quiet.ours)
	b.add("boosting beside a busy process", slower, "", "at most 2x of alone", loaded.ours <= 2*quiet.ours)
	b.addBeside("the same", slower, fmt.Sprintf("%s (%.1fx)", seconds(loaded.theirs), loaded.theirs/quiet.theirs), "faster than XGBoost", loaded.ratio() < 1)
	return b.worth()
}

// worth compares AUC and log loss on the test rows.
func (b *benchmark) worth() error {
	e, err := model.ReadEnsemble(bytes.NewReader(b.text))
	if err != nil {
		return err
	}
	b.scores = make([]float64, len(b.label))
	if err := e.RawBatch(b.values, b.scores); err != nil {
		return err
	}
	auc := [2]float64{model.ROCAUC(b.scores, b.label), math.NaN()}
	loss, theirLoss := logLoss(b.scores, b.label), "-"
	if b.px != nil {
		theirs, err := b.px.score(b.params, filepath.Join(b.dir, "xgboost.txt"))
		if err != nil {
			return err
		}
		auc[1], theirLoss = model.ROCAUC(theirs, b.label), fmt.Sprintf("%.5f", logLoss(theirs, b.label))
	}
	b.addBeside(fmt.Sprintf("AUC on %d test rows", len(b.label)), fmt.Sprintf("%.5f", auc[0]), fmt.Sprintf("%.5f", auc[1]), "not below by more than 0.002", auc[0] >= auc[1]-0.002)
	b.add("log loss on them", fmt.Sprintf("%.5f", loss), theirLoss, "", true)
	return nil
}

func logLoss(raw []float64, label []bool) float64 {
	p := make([]float64, len(raw))
	for i, s := range raw {
		p[i] = model.Sigmoid(s)
	}
	return model.LogLoss(p, label)
}

// duel is the median times of two in seconds, NaN where there is no peer.
type duel struct{ ours, theirs float64 }

func (d duel) ratio() float64 { return d.ours / d.theirs }

// duel times ours and theirs in turn, round after round.
func (b *benchmark) duel(what string, ours, theirs func() (float64, error)) (duel, error) {
	var a, t []float64
	for round := range b.rounds {
		runtime.GC()
		s, err := ours()
		if err != nil {
			return duel{}, err
		}
		a = append(a, s)
		s = math.NaN()
		if b.px != nil {
			if s, err = theirs(); err != nil {
				return duel{}, err
			}
		}
		t = append(t, s)
		tell("%s, round %d: ours %s, XGBoost %s", what, round+1, seconds(a[round]), seconds(t[round]))
	}
	return duel{median(a), median(t)}, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func seconds(s float64) string {
	if s != s {
		return "-"
	}
	return fmt.Sprintf("%.2f s", s)
}
