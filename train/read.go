package train

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/stratoswarm/forestall/train/table"
)

// maxRows keeps row numbers in 32 bits and sums of gradients within theirs.
const maxRows = 1 << 30

// ReadProgress is how far the reading of a table is.
type ReadProgress struct {
	Path string
	Pass int // 1, or 2 for a table larger than the sample that its bins are made from
	table.Progress
}

// ReadDataset reads a table for training. All columns are features but the
// label, the weight and those to drop. Beside the binned rows it holds a sample
// of at most 200,000 rows while it reads. The result does not depend on the
// number of threads.
//
// An error names the file, the line or row and the column: cells that are no
// numbers or infinite, rows of another width than the header, columns that are
// missing or twice there, labels that are missing, constant or, for [Binary],
// neither 0 nor 1, features without a single value. Of several such rows the
// first is reported.
func ReadDataset(ctx context.Context, path string, spec Spec) (*Dataset, error) {
	d, err := readDataset(ctx, path, spec, binSample)
	return d, spec.advise(err)
}

// advise says also what to do about a column that holds no numbers.
func (s *Spec) advise(err error) error {
	not := (*table.NotNumber)(nil)
	switch {
	case !errors.As(err, &not) || not.Column == s.Weight:
		return err
	case not.Column == s.Label && s.Objective == Binary:
		return fmt.Errorf("%w. Write the label as 0 or 1", err)
	case slices.Contains(s.Categorical, not.Column):
		return fmt.Errorf("%w. Write categories as codes, whole numbers from 0 to %d", err, maxCategory)
	case not.Column == s.Label || s.Base != nil: // whose features are needed
		return err
	}
	return fmt.Errorf("%w. If it is no feature, leave it out with %s", err, dropFlag(not.Column))
}

func readDataset(ctx context.Context, path string, spec Spec, sample int) (*Dataset, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	t, err := table.Open(path)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	features, err := spec.features(t)
	if err != nil {
		return nil, err
	}
	s := newSampler(sample, len(spec.columns(features)), spec.Seed)
	if err := s.read(ctx, t, features, &spec); err != nil {
		if first := firstError(ctx, path, features, &spec); first != nil {
			return nil, first
		}
		return nil, err
	}
	switch {
	case s.seen == 0:
		return nil, fmt.Errorf("%s: there are no rows", path)
	case s.seen > maxRows:
		return nil, fmt.Errorf("%s: the table has %d rows; %d can be trained on", path, s.seen, maxRows)
	}
	binnings, err := s.binnings(features, &spec)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !s.whole() {
		s.kept = nil // no longer needed: room for the rows
	}
	d := newDataset(features, spec, s.seen, spec.Weight != "")
	d.binnings = binnings
	if !s.whole() {
		return d, d.fill(ctx, path)
	}
	if err := s.labels.finish(path); err != nil {
		return nil, err
	}
	if err := s.fill(d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.digest, err = t.Digest()
	return d, err
}

// ReadLike reads another table into the bins of d, such as one to validate on:
// the same features and label by name, other columns ignored.
func (d *Dataset) ReadLike(ctx context.Context, path string) (*Dataset, error) {
	n, err := countRows(ctx, path, &d.spec)
	if err != nil {
		if first := firstError(ctx, path, d.features, &d.spec); first != nil {
			return nil, first
		}
		return nil, err
	}
	other := newDataset(d.features, d.spec, n, d.spec.Weight != "")
	other.binnings = d.binnings
	err = other.fill(ctx, path)
	if one := (*oneLabelError)(nil); errors.As(err, &one) {
		return nil, fmt.Errorf("%s: column %s: the label is %v in every row%s: such rows cannot judge, give others", path, d.spec.Label, one.label, one.of)
	}
	return other, err
}

// firstError returns the first error of the table's rows, nil if there is none.
// Where only a sample is read, an error of it need not be the first.
func firstError(ctx context.Context, path string, features []string, spec *Spec) error {
	t, err := table.Open(path)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Select(spec.columns(features)); err != nil {
		return err
	}
	check := spec.rowCheck(features)
	return t.Read(ctx, table.Reading{Threads: spec.Threads, Do: check.block})
}

// progress returns what reports the progress of a pass over a table.
func (s *Spec) progress(path string, pass int) func(table.Progress) {
	if s.Progress == nil {
		return nil
	}
	return func(p table.Progress) { s.Progress(ReadProgress{path, pass, p}) }
}

// features returns the columns that are neither label, weight nor dropped.
func (s *Spec) features(t *table.Table) ([]string, error) {
	columns := t.Columns()
	not := append([]string{s.Label}, s.Drop...)
	if s.Weight != "" {
		not = append(not, s.Weight)
	}
	for _, name := range not {
		if !slices.Contains(columns, name) {
			return nil, t.Missing(name)
		}
	}
	if slices.Contains(s.Drop, s.Label) {
		return nil, t.Errorf("column %q is the label and cannot be dropped", s.Label)
	}
	features := slices.DeleteFunc(columns, func(name string) bool { return slices.Contains(not, name) })
	if len(features) == 0 {
		return nil, t.Errorf("no column is left as a feature")
	}
	for _, name := range t.Unnamed() {
		if slices.Contains(features, name) {
			return nil, t.Errorf("%s has no name, and every column is a feature; name it, or leave it out with %s", name, dropFlag(name))
		}
	}
	for _, name := range features {
		if !utf8.ValidString(name) {
			return nil, t.Errorf("the name of column %q is not UTF-8, as it must be in a model's card; write the file as UTF-8", name)
		}
	}
	if s.Base != nil {
		var err error
		if features, err = s.Base.order(features); err != nil {
			return nil, t.Errorf("%w", err)
		}
	}
	for _, name := range s.Categorical {
		if !slices.Contains(features, name) {
			return nil, t.Errorf("categorical column %q is not among the features", name)
		}
	}
	return features, nil
}

// dropFlag returns the flag that leaves columns out, as a shell takes it.
func dropFlag(columns ...string) string {
	var names []string
	for _, name := range columns {
		names = append(names, strings.ReplaceAll(name, ",", `\,`))
	}
	list := strings.Join(names, ",")
	if strings.ContainsFunc(list, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-+.,:/@%", r)
	}) {
		list = "'" + strings.ReplaceAll(list, "'", `'\''`) + "'"
	}
	return "--drop " + list
}

// columns returns what is read of a row: the features, the label, the weight.
func (s *Spec) columns(features []string) []string {
	columns := append(slices.Clone(features), s.Label)
	if s.Weight != "" {
		columns = append(columns, s.Weight)
	}
	return columns
}

// rowCheck finds values that cannot be trained on, and remembers what the
// labels are. It is safe for concurrent use.
type rowCheck struct {
	spec        *Spec
	features    []string
	categorical []int // features

	mu     sync.Mutex
	labels labelCheck
}

func (s *Spec) rowCheck(features []string) *rowCheck {
	c := &rowCheck{spec: s, features: features, labels: labelCheck{objective: s.Objective}}
	for f, name := range features {
		if slices.Contains(s.Categorical, name) {
			c.categorical = append(c.categorical, f)
		}
	}
	return c
}

// block checks the rows of a block one after the other.
func (c *rowCheck) block(b *table.Block) error {
	if b.Rows == 0 {
		return nil
	}
	labels := labelCheck{objective: c.spec.Objective}
	n := len(c.features)
	label, weight := b.Column(n), []float64(nil)
	if c.spec.Weight != "" {
		weight = b.Column(n + 1)
	}
	for i, y := range label {
		for _, f := range c.categorical {
			if err := checkCategory(b.Column(f)[i]); err != nil {
				return b.CellErrorf(i, f, "%w", err)
			}
		}
		w := 1.0
		if weight != nil {
			w = weight[i]
		}
		if err := labels.add(y, w); err != nil {
			return b.CellErrorf(i, n, "%w", err)
		}
		if err := checkWeight(w); err != nil {
			return b.CellErrorf(i, n+1, "%w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.labels.join(labels)
	return nil
}

// finish reports labels from which nothing can be learnt.
func (c *rowCheck) finish(path string) error {
	if err := c.labels.finish(); err != nil {
		return fmt.Errorf("%s: column %s: %w", path, c.spec.Label, err)
	}
	return nil
}
