package model

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Bounds on a distribution.
const (
	shareBins  = 10   // of a feature, at most
	sampleRows = 5000 // that the bins are made from
)

// Distribution is how the values of the features lay in the rows that a model
// was trained on: what telemetry is compared with later, to see whether it is
// still of the kind that the model knows.
type Distribution struct {
	Rows     int             `json:"rows"`     // that were seen
	Sampled  int             `json:"sampled"`  // that the shares are of
	Features []FeatureShares `json:"features"` // in the card's order
}

// FeatureShares is how one feature's values lay. Bin i holds what is above
// Edges[i-1] and at most Edges[i], the last bin what is above all edges.
type FeatureShares struct {
	Edges   []float64 `json:"edges,omitempty"`  // rising
	Shares  []float64 `json:"shares,omitempty"` // one more than edges; none where no value was seen. With Missing they add up to 1
	Missing float64   `json:"missing"`          // share of rows without a value
	Min     float64   `json:"min"`              // of all rows; 0 where no value was seen
	Max     float64   `json:"max"`
}

// Bin returns the bin of a value: len(Shares) for one that is missing.
func (f *FeatureShares) Bin(v float64) int {
	if v != v || len(f.Shares) == 0 {
		return len(f.Shares)
	}
	for i, edge := range f.Edges { // at most nine
		if v <= edge {
			return i
		}
	}
	return len(f.Edges)
}

// Beyond reports whether a value lies outside of the range that was seen, by
// more than a tenth of its width. What is missing does not.
func (f *FeatureShares) Beyond(v float64) bool {
	if v != v || len(f.Shares) == 0 {
		return false
	}
	margin := 0.1 * (f.Max - f.Min)
	if margin == 0 {
		margin = 0.1 * math.Abs(f.Max)
	}
	return v < f.Min-margin || v > f.Max+margin
}

// Validate reports what no distribution of so many features can be.
func (d *Distribution) Validate(features int) error {
	if len(d.Features) != features {
		return fmt.Errorf("it is of %d features, the card has %d", len(d.Features), features)
	}
	if d.Sampled < 1 || d.Rows < d.Sampled {
		return fmt.Errorf("%d rows sampled of %d", d.Sampled, d.Rows)
	}
	for i := range d.Features {
		if err := d.Features[i].validate(); err != nil {
			return fmt.Errorf("feature %d: %w", i, err)
		}
	}
	return nil
}

func (f *FeatureShares) validate() error {
	sum := f.Missing
	for _, s := range f.Shares {
		if !(s >= 0) {
			return fmt.Errorf("share %v is negative", s)
		}
		sum += s
	}
	switch {
	case len(f.Shares) > shareBins || len(f.Shares) > 0 && len(f.Edges) != len(f.Shares)-1 || len(f.Shares) == 0 && len(f.Edges) > 0:
		return fmt.Errorf("%d edges part %d shares; at most %d shares are allowed", len(f.Edges), len(f.Shares), shareBins)
	case !(f.Missing >= 0) || math.Abs(sum-1) > 1e-6:
		return fmt.Errorf("the shares and what is missing add up to %v", sum)
	case !(f.Min <= f.Max) || math.IsInf(f.Min, 0) || math.IsInf(f.Max, 0):
		return fmt.Errorf("the range from %v to %v is none", f.Min, f.Max)
	}
	for i, edge := range f.Edges {
		if math.IsNaN(edge) || math.IsInf(edge, 0) || i > 0 && edge <= f.Edges[i-1] {
			return errors.New("the edges do not rise")
		}
	}
	return nil
}

// DistributionBuilder makes a [Distribution] of rows that it is shown once. It
// holds a sample of them, chosen by the seed.
type DistributionBuilder struct {
	width    int
	rows     int
	min, max []float64
	missing  []int
	sample   []float64 // rows one after the other
	random   *rand.Rand
}

// NewDistributionBuilder returns one for rows of that many features.
func NewDistributionBuilder(features int, seed uint64) *DistributionBuilder {
	b := &DistributionBuilder{
		width: features, min: make([]float64, features), max: make([]float64, features), missing: make([]int, features),
		random: rand.New(rand.NewPCG(seed, 0x70736931)),
	}
	for i := range features {
		b.min[i], b.max[i] = math.Inf(1), math.Inf(-1)
	}
	return b
}

// Add takes a row, which it does not keep. Infinite values count as missing.
func (b *DistributionBuilder) Add(row []float64) {
	for i, v := range row[:b.width] {
		if v != v || math.IsInf(v, 0) {
			b.missing[i]++
			continue
		}
		b.min[i], b.max[i] = min(b.min[i], v), max(b.max[i], v)
	}
	b.rows++
	if b.rows <= sampleRows { // then each of the rows with the same odds (Vitter 1985, algorithm R)
		b.sample = append(b.sample, row[:b.width]...)
	} else if at := b.random.IntN(b.rows); at < sampleRows {
		copy(b.sample[at*b.width:], row[:b.width])
	}
}

// Distribution returns that of the features with the given positions, nil
// before the first row.
func (b *DistributionBuilder) Distribution(features []int) *Distribution {
	if b.rows == 0 {
		return nil
	}
	d := &Distribution{Rows: b.rows, Sampled: min(b.rows, sampleRows), Features: make([]FeatureShares, len(features))}
	values := make([]float64, 0, d.Sampled)
	for i, f := range features {
		values = values[:0]
		for at := f; at < len(b.sample); at += b.width {
			if v := b.sample[at]; v == v && !math.IsInf(v, 0) {
				values = append(values, v)
			}
		}
		d.Features[i] = shares(values, d.Sampled)
		if b.missing[f] < b.rows {
			d.Features[i].Min, d.Features[i].Max = b.min[f], b.max[f]
		}
	}
	return d
}

// shares cuts values, of so many rows, into bins of about as many each. A value
// that would fill a bin alone has one of its own.
func shares(values []float64, rows int) FeatureShares {
	f := FeatureShares{Missing: float64(rows-len(values)) / float64(rows)}
	if len(values) == 0 {
		return f
	}
	slices.Sort(values)
	for i := 1; i < shareBins; i++ {
		edge := values[(len(values)*i-1)/shareBins]
		if edge < values[len(values)-1] && (len(f.Edges) == 0 || edge > f.Edges[len(f.Edges)-1]) {
			f.Edges = append(f.Edges, edge)
		}
	}
	f.Shares = make([]float64, len(f.Edges)+1)
	for _, v := range values {
		at, _ := slices.BinarySearch(f.Edges, v)
		f.Shares[at] += 1 / float64(rows)
	}
	return f
}

// PSI returns the population stability index of live counts, one for each of
// the feature's bins and one more for what is missing, against the training's
// shares: the sum over bins of (a-e) ln(a/e), with a the live share and e that of
// the training (Siddiqi 2006). Half a row more in each bin on both sides keeps
// empty bins finite. NaN of no counts.
func (d *Distribution) PSI(feature int, counts []uint32) float64 {
	f := &d.Features[feature]
	total := 0.0
	for _, n := range counts {
		total += float64(n)
	}
	if total == 0 || len(counts) != len(f.Shares)+1 {
		return math.NaN()
	}
	bins, psi := float64(len(counts)), 0.0
	for i, n := range counts {
		e := f.Missing
		if i < len(f.Shares) {
			e = f.Shares[i]
		}
		e = (e*float64(d.Sampled) + 0.5) / (float64(d.Sampled) + bins/2)
		a := (float64(n) + 0.5) / (total + bins/2)
		psi += (a - e) * math.Log(a/e)
	}
	return psi
}
