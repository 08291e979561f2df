package model

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/dmitryikh/leaves"
)

// tolerance is how far the two evaluators may be apart, relative to scores
// larger than 1.
const tolerance = 1e-9

// Bounds of the probe rows, so that a large model is still accepted quickly.
const (
	minProbes = 64
	maxProbes = 2048
)

// secondOpinion lets the leaves library score probe rows of a text that parse
// has accepted, and reports where it differs from e. leaves trusts its input,
// so it sees only what has been validated, and a panic in it is an error here.
func secondOpinion(text []byte, e *Ensemble) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: leaves panics on the model: %v", ErrSecondOpinion, r)
		}
	}()
	other, err := leaves.LGEnsembleFromReader(bufio.NewReader(bytes.NewReader(asV3(text))), false)
	if err != nil {
		return fmt.Errorf("%w: leaves cannot read the model: %w", ErrSecondOpinion, err)
	}
	if n := other.NEstimators(); n != e.Trees() {
		return fmt.Errorf("%w: leaves reads %d trees instead of %d", ErrSecondOpinion, n, e.Trees())
	}
	p := newProber(e)
	for i := range p.rows() {
		row := p.row(i)
		ours, theirs := e.score(row), other.PredictSingle(row, 0)
		if !(math.Abs(ours-theirs) <= tolerance*max(1, math.Abs(ours))) {
			return fmt.Errorf("%w: probe row %d scores %v here and %v in leaves", ErrSecondOpinion, i, ours, theirs)
		}
	}
	return nil
}

// asV3 returns the text with the header's version that leaves knows. Versions 3
// and 4 differ in nothing that is accepted here.
func asV3(text []byte) []byte {
	return bytes.Replace(text, []byte("\nversion=v4"), []byte("\nversion=v3"), 1)
}

// prober makes deterministic rows that visit both sides of the splits.
type prober struct {
	e      *Ensemble
	values [][]float64 // per feature, what a row may hold
	buf    []float64
	rng    *rand.Rand
	n      int
}

func newProber(e *Ensemble) *prober {
	p := &prober{
		e:      e,
		values: make([][]float64, len(e.features)),
		buf:    make([]float64, len(e.features)),
		rng:    rand.New(rand.NewPCG(0x666f726573, 0x74616c6c)),
		n:      minProbes,
	}
	for _, n := range e.nodes {
		f := n.feature()
		switch {
		case n.leaf():
		case n.meta&flagSet != 0:
			// A NaN is read by leaves as the platform converts it; left out.
			set := e.sets[int(n.threshold)]
			p.values[f] = append(p.values[f], -1, 0, 1, float64(32*len(set)-1), float64(32*len(set)))
			for range 4 {
				p.values[f] = append(p.values[f], float64(p.rng.IntN(32*len(set))))
			}
		default:
			t := n.threshold
			p.values[f] = append(p.values[f], t, math.Nextafter(t, math.Inf(1)), math.Nextafter(t, math.Inf(-1)))
		}
	}
	numeric := []float64{math.NaN(), 0, zeroThreshold, -zeroThreshold / 2, 2 * zeroThreshold, 1e300, -1e300, 1}
	categorical := p.categorical()
	for f, v := range p.values {
		if !categorical[f] {
			v = append(v, numeric...)
		}
		slices.Sort(v)
		v = slices.CompactFunc(v, func(a, b float64) bool { return a == b || a != a && b != b })
		p.rng.Shuffle(len(v), func(i, j int) { v[i], v[j] = v[j], v[i] })
		p.values[f] = v
		p.n = max(p.n, len(v))
	}
	p.n = min(p.n, maxProbes)
	return p
}

func (p *prober) categorical() []bool {
	is := make([]bool, len(p.values))
	for _, n := range p.e.nodes {
		if n.meta&flagSet != 0 {
			is[n.feature()] = true
		}
	}
	return is
}

func (p *prober) rows() int { return 2 + p.n }

// row returns probe i, valid until the next call. The first is all zero, the
// second all missing; then each feature steps through its values at its own
// offset, so that each value comes up while combinations vary.
func (p *prober) row(i int) []float64 {
	for f, v := range p.values {
		switch {
		case i == 0:
			p.buf[f] = 0
		case i == 1:
			p.buf[f] = v[0]
			if slices.ContainsFunc(v, math.IsNaN) {
				p.buf[f] = math.NaN()
			}
		case i-2 < len(v):
			p.buf[f] = v[i-2]
		default:
			p.buf[f] = v[p.rng.IntN(len(v))]
		}
	}
	return p.buf
}
