package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stratoswarm/forestall/model"
)

// wholeWay compares the way from the CSV file to the model in a file, and what
// memory it takes. XGBoost goes whichever of its ways is quicker here: its
// command line, or its reader and trainer called from Python, without the time
// that Python takes to start.
func (b *benchmark) wholeWay(ctx context.Context) error {
	var memory [2][]float64
	ours := func() (float64, error) {
		m, err := measure(ctx, b.forestall("ours", b.threads)...)
		memory[0] = append(memory[0], float64(m.PeakKiB)/1024)
		return m.Seconds, err
	}
	var peer func(context.Context) (s, peak float64, err error)
	if b.px != nil {
		var err error
		if peer, err = b.quickerPeer(ctx); err != nil {
			return err
		}
	}
	theirs := func() (float64, error) {
		s, peak, err := peer(ctx)
		memory[1] = append(memory[1], peak)
		return s, err
	}
	d, err := b.duel("from CSV to model", ours, theirs)
	if err != nil {
		return err
	}
	b.addBeside("from CSV to model", seconds(d.ours), seconds(d.theirs), "at most 0.5x", d.ratio() <= 0.5)
	bar := 1.5*float64(b.rows)*syntheticFeatures/1e6 + 200
	peak := median(memory[0]) * 1.048576
	theirPeak := "-"
	if len(memory[1]) > 0 {
		theirPeak = fmt.Sprintf("%.0f MB", median(memory[1])*1.048576)
	}
	b.add("peak memory of it", fmt.Sprintf("%.0f MB", peak), theirPeak,
		fmt.Sprintf("at most %.0f MB (1.5x the bins + 200)", bar), peak <= bar)
	return nil
}

// forestall is the command that trains on the table.
func (b *benchmark) forestall(name string, threads int) []string {
	p := b.params
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	return []string{
		b.binary, "train", "--table", b.train, "--label", labelColumn, "--out", filepath.Join(b.dir, name),
		"--trees", strconv.Itoa(p.Trees), "--leaves", strconv.Itoa(p.Leaves), "--learning-rate", f(p.LearningRate),
		"--max-bin", strconv.Itoa(maxBin), "--min-leaf", strconv.Itoa(p.MinLeaf), "--min-hessian", f(p.MinHessian),
		"--l2", f(p.L2), "--start", f(p.Start), "--sample-rows", f(p.SampleRows), "--threads", strconv.Itoa(threads),
	}
}

// fromPython returns seconds and peak MiB of XGBoost's reader and trainer.
func (b *benchmark) fromPython(ctx context.Context) (s, peak float64, err error) {
	px, err := startPeer(ctx, b.dir)
	if err != nil {
		return 0, 0, err
	}
	a, err := px.ask(map[string]any{
		"do": "file", "train": b.bare, "params": peerParams(b.params), "trees": b.params.Trees, "threads": b.threads,
		"out": filepath.Join(b.dir, "xgboost.ubj"),
	})
	if stopped := px.stop(); err == nil {
		err = stopped
	}
	if err == nil && a.Rows != b.rows {
		err = fmt.Errorf("XGBoost read %d rows of %d", a.Rows, b.rows)
	}
	return a.Seconds, float64(a.PeakKiB) / 1024, err
}

// fromCommand returns seconds and peak MiB of XGBoost's command line.
func (b *benchmark) fromCommand(ctx context.Context) (s, peak float64, err error) {
	var conf strings.Builder
	for name, value := range peerParams(b.params) {
		fmt.Fprintf(&conf, "%s = %v\n", name, value)
	}
	fmt.Fprintf(&conf, "task = train\nnum_round = %d\ndata = \"%s?format=csv&label_column=0\"\nmodel_out = \"%s\"\n",
		b.params.Trees, b.bare, filepath.Join(b.dir, "xgboost.model"))
	path := filepath.Join(b.dir, "xgboost.conf")
	if err := os.WriteFile(path, []byte(conf.String()), 0o644); err != nil {
		return 0, 0, err
	}
	m, err := measure(ctx, xgboostCommand, path)
	return m.Seconds, float64(m.PeakKiB) / 1024, err
}

// quickerPeer tries both ways once and returns the quicker one.
func (b *benchmark) quickerPeer(ctx context.Context) (func(context.Context) (s, peak float64, err error), error) {
	python, _, err := b.fromPython(ctx)
	if err != nil {
		return nil, err
	}
	command, _, err := b.fromCommand(ctx)
	if err != nil { // Debian has it in a package of its own
		tell("XGBoost's command line: %v", err)
		return b.fromPython, nil
	}
	tell("XGBoost from CSV: Python %s, command line %s", seconds(python), seconds(command))
	if command < python {
		return b.fromCommand, nil
	}
	return b.fromPython, nil
}

const xgboostCommand = "/usr/bin/xgboost"

// determinism trains from the file with other numbers of threads.
func (b *benchmark) determinism(ctx context.Context) error {
	var sums []string
	for _, threads := range []int{1, 2, 7} {
		tell("train with %d threads", threads)
		name := fmt.Sprintf("threads-%d", threads)
		if _, err := measure(ctx, b.forestall(name, threads)...); err != nil {
			return err
		}
		text, err := os.ReadFile(filepath.Join(b.dir, name, model.TreesFile))
		if err != nil {
			return err
		}
		sums = append(sums, model.Digest(text)[:12])
	}
	same := sums[0] == sums[1] && sums[1] == sums[2] && sums[0] == model.Digest(b.text)[:12]
	b.add("SHA-256 of model.txt with 1, 2, 7 threads", strings.Join(sums, ", "), "", "byte-identical", same)
	return nil
}
