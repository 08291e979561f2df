package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// sampleRows is how many rows the bins are made from, as in LightGBM. A table
// of no more rows is read once, a larger one twice.
const sampleRows = 200_000

// sampleStream tells the random numbers of the sample from others of its seed.
const sampleStream = 0x73616d706c65

// maxRows keeps row numbers in 32 bits and sums of gradients within theirs.
const maxRows = 1 << 30

// ReadDataset reads a table for training. All columns are features but the
// label, the weight and those to drop. Beside the binned rows it holds a sample
// of at most 200,000 rows while it reads.
//
// An error names the file, the line and the column: cells that are no numbers
// or infinite, rows of another width than the header, columns that are missing
// or twice there, labels that are missing, constant or, for [Binary], neither 0
// nor 1, features without a single value.
func ReadDataset(ctx context.Context, path string, spec Spec) (*Dataset, error) {
	return readDataset(ctx, path, spec, sampleRows)
}

func readDataset(ctx context.Context, path string, spec Spec, sample int) (*Dataset, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	t, err := OpenTable(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	features, err := spec.features(t)
	if err != nil {
		return nil, err
	}
	s := newSampler(sample, spec.Seed)
	if err := s.read(ctx, t, spec.columns(features)); err != nil {
		return nil, err
	}
	if s.seen > maxRows {
		return nil, fmt.Errorf("%s: the table has %d rows; %d can be trained on", path, s.seen, maxRows)
	}
	if s.seen == 0 {
		return nil, fmt.Errorf("%s: there are no rows", path)
	}
	binnings, err := s.binnings(features, &spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	whole := s.whole()
	if !whole {
		s.kept = nil // no longer needed: room for the rows
	}
	d := newDataset(features, spec, s.seen, spec.Weight != "")
	d.digest, d.binnings = t.source.digest(), binnings
	if whole {
		return d, d.fill(ctx, s.replay(t))
	}
	again, err := OpenTable(path)
	if err != nil {
		return nil, err
	}
	defer again.Close()
	return d, d.fill(ctx, again)
}

// ReadLike reads another table into the bins of d, such as one to validate on:
// the same features and label by name, other columns ignored.
func (d *Dataset) ReadLike(ctx context.Context, path string) (*Dataset, error) {
	rows, err := countRows(ctx, path)
	if err != nil {
		return nil, err
	}
	t, err := OpenTable(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	other := newDataset(d.features, d.spec, rows, d.spec.Weight != "")
	other.binnings = d.binnings
	if err := other.fill(ctx, t); err != nil {
		return nil, err
	}
	other.digest = t.source.digest()
	return other, nil
}

func countRows(ctx context.Context, path string) (n int, err error) {
	t, err := OpenTable(path)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	for ; ; n++ {
		if err := every(ctx, n); err != nil {
			return 0, err
		}
		if err := t.Skip(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// every asks the context now and then.
func every(ctx context.Context, n int) error {
	if n%4096 != 0 {
		return nil
	}
	return ctx.Err()
}

// features returns the columns that are neither label, weight nor dropped.
func (s *Spec) features(t *Table) ([]string, error) {
	columns := t.Columns()
	not := append([]string{s.Label}, s.Drop...)
	if s.Weight != "" {
		not = append(not, s.Weight)
	}
	for _, name := range not {
		if !slices.Contains(columns, name) {
			return nil, fmt.Errorf("%s: line 1: column %q is missing; the file has %s", t.path, name, quoted(columns))
		}
	}
	if slices.Contains(s.Drop, s.Label) {
		return nil, fmt.Errorf("%s: column %q is the label and cannot be dropped", t.path, s.Label)
	}
	features := slices.DeleteFunc(columns, func(name string) bool { return slices.Contains(not, name) })
	if len(features) == 0 {
		return nil, fmt.Errorf("%s: line 1: no column is left as a feature", t.path)
	}
	for _, name := range features {
		if strings.ContainsAny(name, " \t\r\n=") {
			return nil, fmt.Errorf("%s: line 1: column %q: a model cannot hold a name with white space or '='; rename the column or drop it", t.path, name)
		}
	}
	if s.Base != nil {
		var err error
		if features, err = s.Base.order(features); err != nil {
			return nil, fmt.Errorf("%s: line 1: %w", t.path, err)
		}
	}
	for _, name := range s.Categorical {
		if !slices.Contains(features, name) {
			return nil, fmt.Errorf("%s: categorical column %q is not among the features", t.path, name)
		}
	}
	return features, nil
}

// columns returns what is read of a row: the features, the label, the weight.
func (s *Spec) columns(features []string) []string {
	columns := append(slices.Clone(features), s.Label)
	if s.Weight != "" {
		columns = append(columns, s.Weight)
	}
	return columns
}

// rowReader is a table, or the rows of one that are held in memory.
type rowReader interface {
	Select(columns []string) error
	Next(dst []float64) error // io.EOF after the last row
	locate(line int, err error) error
	Line() int
}

// fill reads the rows into d, which has room for exactly as many.
func (d *Dataset) fill(ctx context.Context, in rowReader) error {
	if err := in.Select(d.spec.columns(d.features)); err != nil {
		return err
	}
	row := make([]float64, len(d.features)+2)
	check := labelCheck{objective: d.spec.Objective}
	for i := 0; ; i++ {
		if err := every(ctx, i); err != nil {
			return err
		}
		err := in.Next(row)
		if errors.Is(err, io.EOF) && i == d.rows {
			break
		}
		if errors.Is(err, io.EOF) || err == nil && i == d.rows {
			return in.locate(in.Line(), errors.New(": the file changed while it was read"))
		}
		if err != nil {
			return err
		}
		if err := d.setRow(i, row, &check); err != nil {
			return in.locate(in.Line(), err)
		}
	}
	if err := check.finish(); err != nil {
		return in.locate(in.Line(), fmt.Errorf(", column %s: %w", d.spec.Label, err))
	}
	return nil
}

// setRow bins one row: the features' values, the label, the weight.
func (d *Dataset) setRow(i int, row []float64, check *labelCheck) error {
	n := len(d.features)
	for f, v := range row[:n] {
		if err := d.set(i, f, v); err != nil {
			return fmt.Errorf(", column %s: %w", d.features[f], err)
		}
	}
	if d.start != nil {
		var err error
		if d.start[i], err = d.spec.Base.ensemble.Raw(row[:n]); err != nil {
			return fmt.Errorf(": %w", err)
		}
	}
	if err := check.add(row[n]); err != nil {
		return fmt.Errorf(", column %s: %w", d.spec.Label, err)
	}
	d.label[i] = row[n]
	if d.weight != nil {
		if err := checkWeight(row[n+1]); err != nil {
			return fmt.Errorf(", column %s: %w", d.spec.Weight, err)
		}
		d.weight[i] = row[n+1]
	}
	return nil
}

// sampler keeps rows chosen uniformly from all that pass (Li 1994, Algorithm L).
type sampler struct {
	size  int
	rng   *rand.Rand
	kept  [][]float64 // rows; in the table's order while all fit
	lines []int       // of the rows
	seen  int
}

func newSampler(size int, seed uint64) *sampler {
	return &sampler{size: size, rng: rand.New(rand.NewPCG(seed, sampleStream))}
}

// read passes over the whole table.
func (s *sampler) read(ctx context.Context, t *Table, columns []string) error {
	if err := t.Select(columns); err != nil {
		return err
	}
	row := make([]float64, len(columns))
	skip := skipper{size: float64(s.size), w: 1, rng: s.rng}
	wanted := s.size + skip.next() // the next row that replaces one
	for ; ; s.seen++ {
		if err := every(ctx, s.seen); err != nil {
			return err
		}
		if s.seen >= s.size && s.seen < wanted {
			if err := t.Skip(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			continue
		}
		if err := t.Next(row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if s.seen < s.size {
			s.kept = append(s.kept, slices.Clone(row))
			s.lines = append(s.lines, t.Line())
			continue
		}
		copy(s.kept[s.rng.IntN(s.size)], row)
		wanted += 1 + skip.next()
	}
}

// skipper draws how many rows pass before the next one is kept.
type skipper struct {
	size, w float64
	rng     *rand.Rand
}

func (s *skipper) next() int {
	s.w *= math.Exp(math.Log(1-s.rng.Float64()) / s.size)
	return int(math.Log(1-s.rng.Float64()) / math.Log1p(-s.w))
}

// whole reports whether the sample is the table.
func (s *sampler) whole() bool { return s.seen <= s.size }

func (s *sampler) binnings(features []string, spec *Spec) ([]*binning, error) {
	out := make([]*binning, len(features))
	errs := make([]error, len(features))
	parallel(threads(spec.Threads), len(features), func(_, f int) {
		column := make([]float64, len(s.kept))
		for i, row := range s.kept {
			column[i] = row[f]
		}
		out[f], errs[f] = spec.binning(features[f], column)
	})
	return out, errors.Join(errs...)
}

// replay reads the sample as if it were the table, which it must be.
func (s *sampler) replay(t *Table) rowReader { return &replay{Table: t, s: s} }

type replay struct {
	*Table // for the names of errors
	s      *sampler
	at     int
}

func (r *replay) Select([]string) error { return nil }

func (r *replay) Next(dst []float64) error {
	if r.at == len(r.s.lines) {
		return io.EOF
	}
	copy(dst, r.s.kept[r.at])
	r.at++
	return nil
}

func (r *replay) Line() int {
	if r.at == 0 {
		return 1
	}
	return r.s.lines[r.at-1]
}
