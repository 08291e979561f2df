package train

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/stratoswarm/forestall/train/table"
)

// countRows returns the number of rows of a table without reading their cells.
func countRows(ctx context.Context, path string, spec *Spec) (int, error) {
	t, err := table.Open(path)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	var n atomic.Int64
	err = t.Read(ctx, table.Reading{
		Threads: spec.Threads, Progress: spec.progress(path, 1),
		Pick: func([]int, int, int) []int { return nil },
		Do: func(b *table.Block) error {
			n.Add(int64(b.Span))
			return nil
		},
	})
	if err == nil && n.Load() > maxRows {
		err = fmt.Errorf("%s: the table has %d rows; %d can be read", path, n.Load(), maxRows)
	}
	return int(n.Load()), err
}

// fill reads the rows of a table into d, which has room for exactly as many.
func (d *Dataset) fill(ctx context.Context, path string) error {
	t, err := table.Open(path)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Select(d.spec.columns(d.features)); err != nil {
		return err
	}
	if err := t.Hash(); err != nil {
		return err
	}
	check := d.spec.rowCheck(d.features)
	changed := fmt.Errorf("%s: the file changed while it was read", path)
	var seen atomic.Int64
	err = t.Read(ctx, table.Reading{
		Threads: d.spec.Threads, Progress: d.spec.progress(path, 2),
		Do: func(b *table.Block) error {
			if err := check.block(b); err != nil {
				return err
			}
			if b.First+b.Rows > d.rows {
				return changed
			}
			seen.Add(int64(b.Rows))
			if err := d.put(b.First, b.Rows, b.Column); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		},
	})
	if err == nil && int(seen.Load()) != d.rows {
		err = changed
	}
	if err == nil {
		err = check.finish(path)
	}
	if err == nil {
		d.digest, err = t.Digest()
	}
	return err
}

// put bins rows from the given one on. column returns their values: of a
// feature, then of the label, then of the weight.
func (d *Dataset) put(first, rows int, column func(i int) []float64) error {
	if rows == 0 {
		return nil
	}
	bins := d.bins[first*d.width : (first+rows)*d.width]
	for f, b := range d.binnings {
		b.put(column(f), bins[f/8:], d.width, f%8*8)
	}
	n := len(d.features)
	copy(d.label[first:], column(n))
	if d.weight != nil {
		copy(d.weight[first:], column(n+1))
	}
	return d.setStart(first, rows, column)
}
