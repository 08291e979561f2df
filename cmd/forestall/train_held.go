package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync/atomic"

	"github.com/stratoswarm/forestall/train"
	"github.com/stratoswarm/forestall/train/table"
)

// checkApart finds out before anything is read whether a file is to be used
// twice: rows that a model was trained on neither judge nor calibrate it.
func (c *trainCmd) checkApart() error {
	calibrate := c.Calibrate
	if s, err := c.slice(); err != nil {
		return err
	} else if s != 0 || c.outOfBag() {
		calibrate = ""
	}
	switch {
	case sameFile(c.Valid, c.Table):
		return c.validIsTable()
	case sameFile(calibrate, c.Table):
		return c.calibrateIsTable()
	case c.validChooses() && sameFile(calibrate, c.Valid):
		return c.calibrateIsValid()
	}
	return nil
}

func (c *trainCmd) validIsTable() error {
	return fmt.Errorf("--valid %s: the model is trained on these rows, so they cannot judge it: give others, or hold some of --table out with --time or --group", c.Valid)
}

func (c *trainCmd) calibrateIsTable() error {
	return fmt.Errorf("--calibrate %s: the model is trained on these rows: give others, or set a share of --table apart, as in --calibrate 10%%", c.Calibrate)
}

func (c *trainCmd) calibrateIsValid() error {
	return fmt.Errorf("--calibrate %s: the rows of --valid choose the number of trees or the parameters: give others", c.Calibrate)
}

// validChooses says that the rows of --valid do more than judge.
func (c *trainCmd) validChooses() bool {
	return c.Valid != "" && (c.EarlyStopping > 0 || c.searching())
}

func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	first, err := os.Stat(a)
	if err != nil {
		return false // whoever reads it tells why
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// checkValid refuses a copy of a table that the model was trained on.
func (c *trainCmd) checkValid(in *trainInput) error {
	switch digest := in.valid.Digest(); {
	case digest == in.digest:
		return c.validIsTable()
	case in.from.trainedOn(digest):
		return fmt.Errorf("--valid %s: the model of --continue was trained on these rows, so they cannot judge it: give others", c.Valid)
	}
	return nil
}

// readHeld reads the table to calibrate on, so that what is wrong with it is
// known before the training and not after it.
func (c *trainCmd) readHeld(ctx context.Context, progress *trainProgress, in *trainInput) error {
	if s, err := c.slice(); c.Calibrate == "" || s != 0 || c.outOfBag() {
		return err
	}
	t, err := table.Open(c.Calibrate)
	if err != nil {
		return err
	}
	defer t.Close()
	features := in.table.Features()
	if err := errors.Join(t.Select(append(features, c.outcome())), t.Hash()); err != nil {
		return err
	}
	var rows, positives atomic.Int64
	err = t.Read(ctx, table.Reading{
		Threads:  c.Threads,
		Progress: func(p table.Progress) { progress.read(train.ReadProgress{Path: c.Calibrate, Pass: 1, Progress: p}) },
		Do: func(b *table.Block) error {
			if b.Rows == 0 {
				return nil
			}
			n, known := 0.0, 0
			for i, y := range b.Column(len(features)) {
				if math.IsNaN(y) && c.CalibrateLabel != "" {
					continue
				}
				known++
				if err := train.CheckLabel(train.Binary, y); err != nil {
					return b.CellErrorf(i, len(features), "%w", err)
				}
				n += y
			}
			rows.Add(int64(known))
			positives.Add(int64(n))
			return nil
		},
	})
	if err != nil {
		return err
	}
	if n := positives.Load(); n == 0 || n == rows.Load() {
		return fmt.Errorf("--calibrate %s: %d of its %d rows are positive; both classes are needed", c.Calibrate, n, rows.Load())
	}
	switch digest, err := t.Digest(); {
	case err != nil:
		return err
	case digest == in.digest:
		return c.calibrateIsTable()
	case in.from.trainedOn(digest):
		return fmt.Errorf("--calibrate %s: the model of --continue was trained on these rows: give others", c.Calibrate)
	case c.validChooses() && digest == in.valid.Digest():
		return c.calibrateIsValid()
	}
	k, err := c.keysOf(ctx, c.Calibrate)
	in.held.groups = k.Group
	return err
}

// keysOf reads the components of another table, where it tells them.
func (c *trainCmd) keysOf(ctx context.Context, path string) (train.Keys, error) {
	t, err := table.Open(path)
	if err != nil {
		return train.Keys{}, err
	}
	defer t.Close()
	if c.Group == "" || !slices.Contains(t.Columns(), c.Group) {
		return train.Keys{}, nil
	}
	return train.ReadKeys(ctx, path, "", c.Group, train.TimeUnit{})
}
