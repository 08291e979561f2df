package train

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Dataset is a table made ready for training: each value is held as the number
// of its bin, in one byte. It does not change once built and may be used by
// several trainings at a time.
type Dataset struct {
	features []string
	binnings []*binning
	rows     int

	// bins holds the rows one after the other, width words each. Byte f%8 of
	// word f/8 is the bin of feature f; what follows the last feature is 0.
	bins  []uint64
	width int

	label  []float64
	weight []float64 // nil: all 1
	start  []float64 // scores of the model to go on from; nil: there is none
	digest string    // SHA-256 of the file, hex; "" if it came from memory
	spec   Spec
}

// Spec says what the columns of a table mean and how they are binned.
type Spec struct {
	Label       string   // column to predict
	Drop        []string // columns that are no features
	Weight      string   // column of each row's weight, at least 0; "" for none
	Categorical []string // features whose values are codes: whole numbers from 0, without an order
	Objective   Objective
	ZeroMissing bool   // a value of 0 is missing, as LightGBM's zero_as_missing
	MaxBin      int    // bins of a feature, 2 to 255; 0 for 255
	Seed        uint64 // of the sample of rows that the bins are made from
	Threads     int    // 0: one per processor; the result does not depend on it
	Base        *Base  // model to go on from; nil for none

	// Progress, which may be nil, is called now and then while a table is read.
	Progress func(ReadProgress)
}

// Validate reports a field that is not usable.
func (s *Spec) Validate() error {
	switch {
	case s.Label == "":
		return errors.New("label: name the column to predict")
	case s.MaxBin != 0 && (s.MaxBin < 2 || s.MaxBin > maxBins):
		return fmt.Errorf("max_bin is %d; it must be between 2 and %d", s.MaxBin, maxBins)
	case s.Threads < 0:
		return fmt.Errorf("threads is %d; it must be positive, or 0 for one per processor", s.Threads)
	case s.Weight == s.Label:
		return fmt.Errorf("weight: column %q is the label", s.Label)
	}
	if err := s.Objective.validate(); err != nil {
		return err
	}
	if s.Base == nil {
		return nil
	}
	if of := s.Base.ensemble.Objective(); of != string(s.Objective) {
		return fmt.Errorf("objective is %s; the model to go on from was trained for %s", s.Objective, of)
	}
	return s.Base.agree(s)
}

// Rows returns the number of rows.
func (d *Dataset) Rows() int { return d.rows }

// Features returns the names of the features, in the order of the table.
func (d *Dataset) Features() []string { return slices.Clone(d.features) }

// Positives returns the number of rows whose label is 1.
func (d *Dataset) Positives() (n int) {
	for _, y := range d.label {
		if y == 1 {
			n++
		}
	}
	return n
}

// Digest returns the SHA-256 of the file that the rows came from, in hex, or ""
// if they came from memory.
func (d *Dataset) Digest() string { return d.digest }

// Labels returns the label of each row; a caller must not change it.
func (d *Dataset) Labels() []float64 { return d.label }

// NewDataset bins columns of values in memory, NaN where one is missing. weight
// may be nil. Of the spec only the names in Categorical, Objective, ZeroMissing,
// MaxBin, Seed and Base matter; the features must be in the order of Base.
func NewDataset(features []string, columns [][]float64, label, weight []float64, spec Spec) (*Dataset, error) {
	spec.Label = "label"
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if len(features) != len(columns) || len(features) == 0 {
		return nil, fmt.Errorf("%d names for %d columns", len(features), len(columns))
	}
	d := newDataset(features, spec, len(label), weight != nil)
	d.binnings = make([]*binning, len(features))
	check := labelCheck{objective: spec.Objective}
	for i, y := range label {
		w := 1.0
		if weight != nil {
			w = weight[i]
		}
		if err := errors.Join(check.add(y, w), checkWeight(w)); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	if err := check.finish(); err != nil {
		return nil, err
	}
	copy(d.label, label)
	copy(d.weight, weight)
	sample := chooseRows(len(label), binSample, spec.Seed)
	for f, column := range columns {
		if err := d.addColumn(f, column, sample); err != nil {
			return nil, err
		}
	}
	if d.start != nil {
		if want := spec.Base.Features(); !slices.Equal(want, features) {
			return nil, fmt.Errorf("the features are %v; the model to go on from has %v", features, want)
		}
	}
	return d, d.setStart(0, d.rows, func(f int) []float64 { return columns[f] })
}

// addColumn makes the bins of feature f from the rows of the sample and puts
// all its values into them.
func (d *Dataset) addColumn(f int, column []float64, sample []int) error {
	name := d.features[f]
	if len(column) != d.rows {
		return fmt.Errorf("column %q has %d values for %d labels", name, len(column), d.rows)
	}
	categorical := slices.Contains(d.spec.Categorical, name)
	for i, v := range column {
		if math.IsInf(v, 0) {
			return fmt.Errorf("column %q, row %d: the value is infinite", name, i)
		}
		if !categorical {
			continue
		}
		if err := checkCategory(v); err != nil {
			return fmt.Errorf("column %q, row %d: %w", name, i, err)
		}
	}
	b := d.spec.binning(name, pick(column, sample))
	if b.n == 0 {
		return fmt.Errorf("column %q is missing in every row", name)
	}
	d.binnings[f] = b
	b.put(column, d.bins[f/8:], d.width, f%8*8)
	return nil
}

// setStart scores rows, from the given one on, with the model to go on from.
// column returns the values of a feature.
func (d *Dataset) setStart(first, rows int, column func(f int) []float64) error {
	if d.start == nil {
		return nil
	}
	row := make([]float64, len(d.features))
	for i := range rows {
		for f := range row {
			row[f] = column(f)[i]
		}
		var err error
		if d.start[first+i], err = d.spec.Base.ensemble.Raw(row); err != nil {
			return err
		}
		if v := d.start[first+i]; d.spec.Objective == L2 && math.Abs(v) > maxLabel {
			return fmt.Errorf("row %d: the model to go on from says %v; from at most %v either way more can be learnt", first+i+1, v, maxLabel)
		}
	}
	return nil
}

// chooseRows returns at most size of n row numbers, rising (Knuth, Algorithm S).
func chooseRows(n, size int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, sampleStream))
	rows := make([]int, 0, min(n, size))
	for i := range n {
		if rng.IntN(n-i) < min(n, size)-len(rows) {
			rows = append(rows, i)
		}
	}
	return rows
}

func pick[T any](column []T, rows []int) []T {
	out := make([]T, len(rows))
	for i, row := range rows {
		out[i] = column[row]
	}
	return out
}

// newDataset makes room for rows.
func newDataset(features []string, spec Spec, rows int, weighted bool) *Dataset {
	width := (len(features) + 7) / 8
	d := &Dataset{
		features: features,
		rows:     rows,
		bins:     make([]uint64, rows*width),
		width:    width,
		label:    make([]float64, rows),
		spec:     spec,
	}
	if weighted {
		d.weight = make([]float64, rows)
	}
	if spec.Base != nil {
		d.start = make([]float64, rows)
	}
	return d
}

// at returns the bin of feature f in row i.
func (d *Dataset) at(i, f int) uint8 { return uint8(d.bins[i*d.width+f/8] >> (f % 8 * 8)) }

// words returns the bins of row i, eight features in each.
func (d *Dataset) words(i int) []uint64 { return d.bins[i*d.width:][:d.width] }

// binning makes the bins of a feature from its values, which it reorders. The
// codes of a categorical feature have been checked.
func (s *Spec) binning(name string, values []float64) *binning {
	most := s.MaxBin
	if most == 0 {
		most = maxBins
	}
	if slices.Contains(s.Categorical, name) {
		return categories(values, most)
	}
	return numerical(values, most, s.ZeroMissing)
}

// Gradients are held as float32, up to 3e38: these are bounds of labels and
// weights whose product fits.
const (
	maxLabel  = 1e18
	maxWeight = 1e18
)

// CheckLabel reports a label that an objective cannot learn.
func CheckLabel(o Objective, y float64) error {
	switch {
	case y != y:
		return errors.New("the label is missing; leave such rows out")
	case math.IsInf(y, 0):
		return errors.New("the label is infinite")
	case math.Abs(y) > maxLabel:
		return fmt.Errorf("the label is %v; at most %v either way can be learnt, so give it in a larger unit", y, maxLabel)
	case o == Binary && y != 0 && y != 1:
		return fmt.Errorf("the label is %v; it must be 0 or 1 (for a number to predict use --objective %s)", y, L2)
	}
	return nil
}

// labelCheck finds labels that cannot be learnt.
type labelCheck struct {
	objective Objective
	light     bool // there are rows of weight 0, which teach nothing
	n         int  // other rows
	first     float64
	varies    bool
}

// add takes the label and the weight of a row.
func (c *labelCheck) add(y, weight float64) error {
	if err := CheckLabel(c.objective, y); err != nil {
		return err
	}
	if weight == 0 {
		c.light = true
		return nil
	}
	if c.n == 0 {
		c.first = y
	}
	c.n++
	c.varies = c.varies || y != c.first
	return nil
}

// join adds the labels that another has seen.
func (c *labelCheck) join(other labelCheck) {
	c.light = c.light || other.light
	switch {
	case other.n == 0:
	case c.n == 0:
		c.n, c.first, c.varies = other.n, other.first, other.varies
	default:
		c.n += other.n
		c.varies = c.varies || other.varies || other.first != c.first
	}
}

// oneLabelError is that all rows have the same label.
type oneLabelError struct {
	label float64
	of    string // which rows count
}

func (e *oneLabelError) Error() string {
	return fmt.Sprintf("the label is %v in every row%s, so there is nothing to learn", e.label, e.of)
}

func (c *labelCheck) finish() error {
	of := ""
	if c.light {
		of = " with a weight above 0"
	}
	if c.n == 0 {
		return fmt.Errorf("there are no rows%s", of)
	}
	if !c.varies {
		return &oneLabelError{c.first, of}
	}
	return nil
}

func checkWeight(w float64) error {
	if w != w {
		return errors.New("the weight is missing; leave such rows out")
	}
	if !(w == 0 || w >= 1/maxWeight && w <= maxWeight) {
		return fmt.Errorf("the weight is %v; it must be 0 or between %v and %v", w, 1/maxWeight, maxWeight)
	}
	return nil
}
