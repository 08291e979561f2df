package train

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// A value is held as the number of its bin, one byte. missingBin holds what is
// missing and, of a categorical feature, what is rare or unknown.
const (
	missingBin   = 255
	maxBins      = 255 // value bins of a feature
	minInBin     = 3   // rows of a bin of several values, as in LightGBM
	maxCategory  = 1<<16 - 1
	kZero        = 1e-35 // LightGBM's kZeroThreshold: what counts as 0 where zero is missing
	maxThreshold = math.MaxFloat64
)

// binning maps the values of one feature to bins.
type binning struct {
	n           int // value bins in use
	zeroMissing bool

	// Numerical: bin b holds what is above bounds[b-1] and at most bounds[b];
	// that of the last bin is +Inf.
	bounds []float64
	finder binFinder

	// Categorical: the code of each bin, the most frequent first, and back.
	codes []int
	bins  map[int]uint8
}

func (b *binning) categorical() bool { return b.bins != nil }

// bin returns the bin of a value. A category's code has been checked.
func (b *binning) bin(v float64) uint8 {
	if b.bins != nil {
		if v >= 0 { // LightGBM takes a negative code for missing
			if bin, ok := b.bins[int(v)]; ok {
				return bin
			}
		}
		return missingBin
	}
	if v != v || b.zeroMissing && v >= -kZero && v <= kZero {
		return missingBin
	}
	return uint8(b.finder.bin(v))
}

// put adds the bins of values to words that lie stride apart, shifted.
func (b *binning) put(values []float64, words []uint64, stride, shift int) {
	if b.bins != nil || b.zeroMissing {
		for i, v := range values {
			words[i*stride] |= uint64(b.bin(v)) << shift
		}
		return
	}
	for i, v := range values {
		at := uint64(missingBin)
		if v == v {
			at = b.finder.bin(v)
		}
		words[i*stride] |= at << shift
	}
}

// checkCategory reports a number that is no category's code.
func checkCategory(v float64) error {
	if v == v && (v != math.Trunc(v) || v > maxCategory) {
		return fmt.Errorf("category %v: the codes of a categorical column are whole numbers from 0 to %d; negative ones are missing", v, maxCategory)
	}
	return nil
}

// threshold returns the largest value of a numerical bin, as a split holds it.
func (b *binning) threshold(bin int) float64 { return min(b.bounds[bin], maxThreshold) }

// valueCount is a distinct value and how often it occurs.
type valueCount struct {
	value float64
	count int
}

// distinct sorts values in place and counts each; what is missing is left out.
func distinct(values []float64, zeroMissing bool) []valueCount {
	sortFloats(values)
	var out []valueCount
	for _, v := range values {
		switch {
		case v != v || zeroMissing && v >= -kZero && v <= kZero:
		case len(out) > 0 && out[len(out)-1].value == v:
			out[len(out)-1].count++
		default:
			out = append(out, valueCount{v, 1})
		}
	}
	return out
}

// numerical makes at most most bins of about as many rows each. A value that
// alone would fill a bin gets one of its own. This is LightGBM's GreedyFindBin
// (src/io/bin.cpp).
func numerical(values []float64, most int, zeroMissing bool) *binning {
	b := &binning{zeroMissing: zeroMissing}
	d := distinct(values, zeroMissing)
	if len(d) == 0 {
		return b
	}
	var ends []int // index into d of the last value of each bin but the last
	if len(d) <= most {
		ends = fewValues(d)
	} else {
		ends = equalCounts(d, most)
	}
	b.n = len(ends) + 1
	b.bounds = make([]float64, b.n)
	for i, end := range ends {
		b.bounds[i] = between(d[end].value, d[end+1].value)
	}
	b.bounds[len(ends)] = math.Inf(1)
	b.finder.init(b.bounds[:len(ends)])
	return b
}

// fewValues gives each value a bin, joining those that are too rare.
func fewValues(d []valueCount) (ends []int) {
	rows := 0
	for i := range len(d) - 1 {
		if rows += d[i].count; rows >= minInBin {
			ends = append(ends, i)
			rows = 0
		}
	}
	return ends
}

// equalCounts fills bins up to the mean of what the frequent values leave.
func equalCounts(d []valueCount, most int) (ends []int) {
	total := 0
	for _, v := range d {
		total += v.count
	}
	most = max(1, min(most, total/minInBin))
	mean := float64(total) / float64(most)
	big := make([]bool, len(d))
	restBins, rest := most, total
	for i, v := range d {
		if float64(v.count) >= mean {
			big[i] = true
			restBins--
			rest -= v.count
		}
	}
	mean = float64(rest) / float64(restBins)
	rows := 0
	for i := 0; i < len(d)-1 && len(ends) < most-1; i++ {
		if !big[i] {
			rest -= d[i].count
		}
		rows += d[i].count
		if !big[i] && float64(rows) < mean && !(big[i+1] && float64(rows) >= max(1, mean/2)) {
			continue
		}
		ends = append(ends, i)
		rows = 0
		if !big[i] {
			restBins--
			mean = float64(rest) / float64(restBins)
		}
	}
	return ends
}

// between returns a number from [a, b), about half way; both are finite.
func between(a, b float64) float64 {
	mid := a/2 + b/2
	if mid < a || mid >= b {
		return a
	}
	return mid
}

// categories gives each of the most frequent codes a bin of its own.
func categories(values []float64, most int) *binning {
	d := distinct(values, false)
	slices.SortStableFunc(d, func(a, b valueCount) int { return cmp.Compare(b.count, a.count) })
	b := &binning{bins: map[int]uint8{}}
	for _, v := range d {
		if v.value >= 0 && len(b.codes) < most {
			b.bins[int(v.value)] = uint8(len(b.codes))
			b.codes = append(b.codes, int(v.value))
		}
	}
	b.n = len(b.codes)
	return b
}
