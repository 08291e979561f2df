package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
)

// Calibration turns a raw score into a probability. The zero value is none: the
// objective's own link.
type Calibration struct {
	Method    Method  `json:"method"`
	Slope     float64 `json:"slope,omitempty"`     // platt: p = sigmoid(slope*raw + intercept)
	Intercept float64 `json:"intercept,omitempty"` // platt
	Points    []Point `json:"points,omitempty"`    // isotonic: rising; linear between them, constant outside
}

// Method names a calibration.
type Method string

// The calibrations.
const (
	None     Method = "none"
	Platt    Method = "platt"
	Isotonic Method = "isotonic"
)

// Point is one knot of an isotonic calibration.
type Point struct {
	Raw         float64 `json:"raw"`
	Probability float64 `json:"probability"`
}

// Validate reports parameters that are not usable, naming the field.
func (c Calibration) Validate() error {
	switch c.Method {
	case "", None:
		if c.Slope != 0 || c.Intercept != 0 || c.Points != nil {
			return errors.New("method none takes no parameters")
		}
	case Platt:
		if !(c.Slope > 0) || math.IsInf(c.Slope, 0) || math.IsNaN(c.Intercept) || math.IsInf(c.Intercept, 0) || c.Points != nil {
			return fmt.Errorf("platt needs a positive slope and a finite intercept and no points; it has %v and %v", c.Slope, c.Intercept)
		}
	case Isotonic:
		if len(c.Points) == 0 || c.Slope != 0 || c.Intercept != 0 {
			return errors.New("isotonic needs points, and no slope or intercept")
		}
		for i, p := range c.Points {
			ok := !math.IsNaN(p.Raw) && !math.IsInf(p.Raw, 0) && p.Probability >= 0 && p.Probability <= 1
			if ok && i > 0 {
				ok = p.Raw > c.Points[i-1].Raw && p.Probability >= c.Points[i-1].Probability
			}
			if !ok {
				return fmt.Errorf("isotonic point %d (%v, %v): raw must rise, probability must not fall and lie in [0,1]", i, p.Raw, p.Probability)
			}
		}
	default:
		return fmt.Errorf("method %.40q is not one of none, platt, isotonic", c.Method)
	}
	return nil
}

// Probability returns the probability that a calibration of a method gives a raw
// score; of none it returns that of the plain logistic link.
func (c Calibration) Probability(raw float64) float64 { return c.apply(raw, 1) }

// apply returns the probability of a raw score; link is the slope of the
// objective's own logistic link.
func (c Calibration) apply(raw, link float64) float64 {
	switch c.Method {
	case Platt:
		return Sigmoid(c.Slope*raw + c.Intercept)
	case Isotonic:
		return interpolate(c.Points, raw)
	}
	return Sigmoid(link * raw)
}

func interpolate(points []Point, raw float64) float64 {
	i := sort.Search(len(points), func(i int) bool { return points[i].Raw >= raw })
	switch {
	case i == len(points):
		return points[i-1].Probability
	case i == 0 || points[i].Raw == raw:
		return points[i].Probability
	}
	a, b := points[i-1], points[i]
	return a.Probability + (b.Probability-a.Probability)*((raw-a.Raw)/(b.Raw-a.Raw))
}

// FitPlatt fits p = sigmoid(slope*raw + intercept) by maximum likelihood on
// Platt's smoothed targets (Platt 1999, with the Newton iteration of Lin, Lin,
// Weng 2007). Both classes must occur, and the score must rise with the label.
func FitPlatt(raw []float64, label []bool) (Calibration, error) {
	pos, err := checkFit(raw, label)
	if err != nil {
		return Calibration{}, fmt.Errorf("fit platt: %w", err)
	}
	neg := len(raw) - pos
	hi, lo := (float64(pos)+1)/(float64(pos)+2), 1/(float64(neg)+2)
	target := make([]float64, len(raw))
	for i, y := range label {
		target[i] = lo
		if y {
			target[i] = hi
		}
	}
	slope, intercept := fitLogistic(raw, target, math.Log((float64(pos)+1)/(float64(neg)+1)))
	c := Calibration{Method: Platt, Slope: slope, Intercept: intercept}
	if err := c.Validate(); err != nil {
		return Calibration{}, fmt.Errorf("fit platt: the score does not rise with the label: %w", err)
	}
	return c, nil
}

// fitLogistic minimises the cross entropy by damped Newton steps.
func fitLogistic(x, target []float64, intercept float64) (a, b float64) {
	b = intercept
	loss := crossEntropy(x, target, a, b)
	for range 100 {
		var ga, gb float64
		haa, hab, hbb := 1e-12, 0.0, 1e-12
		for i, v := range x {
			p := Sigmoid(a*v + b)
			d, w := p-target[i], p*(1-p)
			ga += d * v
			gb += d
			haa += w * v * v
			hab += w * v
			hbb += w
		}
		if math.Abs(ga) < 1e-9 && math.Abs(gb) < 1e-9 {
			break
		}
		det := haa*hbb - hab*hab
		da, db := -(hbb*ga-hab*gb)/det, -(haa*gb-hab*ga)/det
		rate := 1.0
		for ; rate > 1e-10; rate /= 2 {
			if l := crossEntropy(x, target, a+rate*da, b+rate*db); l < loss {
				a, b, loss = a+rate*da, b+rate*db, l
				break
			}
		}
		if rate <= 1e-10 {
			break
		}
	}
	return a, b
}

func crossEntropy(x, target []float64, a, b float64) (sum float64) {
	for i, v := range x {
		z := a*v + b
		// -t log p - (1-t) log(1-p), without overflow on either side.
		sum += math.Max(z, 0) - target[i]*z + math.Log1p(math.Exp(-math.Abs(z)))
	}
	return sum
}

// FitIsotonic fits the rising step function of least squares by pooling
// adjacent violators (Ayer et al. 1955). Each pool becomes its two ends, so
// that scores inside it share one probability and those between two pools are
// interpolated.
//
// One row more at the lowest score and one at the highest, both half positive,
// keep the probabilities off 0 and 1, which no number of rows can show: a lowest
// pool of n rows without a positive one says 0.5/(n+1) (Krichevsky and Trofimov
// 1981). Scores beyond those that were seen have the probability
// of the pool at that end.
func FitIsotonic(raw []float64, label []bool) (Calibration, error) {
	if _, err := checkFit(raw, label); err != nil {
		return Calibration{}, fmt.Errorf("fit isotonic: %w", err)
	}
	order := make([]int, len(raw))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(raw[i], raw[j]) })
	type pool struct{ lo, hi, sum, n float64 }
	var pools []pool
	for first := 0; first < len(order); {
		// Rows of one score come in together, whatever their labels are.
		p := pool{lo: raw[order[first]], hi: raw[order[first]]}
		half := func() { p.sum, p.n = p.sum+0.5, p.n+1 }
		if first == 0 {
			half()
		}
		for ; first < len(order) && raw[order[first]] == p.lo; first++ {
			if p.n++; label[order[first]] {
				p.sum++
			}
		}
		if first == len(order) {
			half()
		}
		for n := len(pools) - 1; n >= 0 && pools[n].sum/pools[n].n >= p.sum/p.n; n-- {
			q := pools[n]
			p = pool{q.lo, p.hi, q.sum + p.sum, q.n + p.n}
			pools = pools[:n]
		}
		pools = append(pools, p)
	}
	c := Calibration{Method: Isotonic}
	for _, p := range pools {
		c.Points = append(c.Points, Point{p.lo, p.sum / p.n})
		if p.hi > p.lo {
			c.Points = append(c.Points, Point{p.hi, p.sum / p.n})
		}
	}
	return c, nil
}

func checkFit(raw []float64, label []bool) (positives int, err error) {
	if len(raw) != len(label) {
		return 0, fmt.Errorf("%w: %d scores and %d labels", ErrWidth, len(raw), len(label))
	}
	for i, v := range raw {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("score %d is %v", i, v)
		}
		if label[i] {
			positives++
		}
	}
	if positives == 0 || positives == len(raw) {
		return 0, fmt.Errorf("%d of %d labels are positive; both classes are needed", positives, len(raw))
	}
	return positives, nil
}
