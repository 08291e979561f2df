package anomaly

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// mostWorst bounds [Config.Worst].
const mostWorst = 64

// Config says how a detector is fitted.
type Config struct {
	Worst    int     // metrics of a row that count, the most unusual ones; 1 to 64
	HalfLife float64 // rows over which a tracker smooths: an older row counts half; 0: not at all
	Holdout  float64 // share of the rows, the last, that choose the threshold, in (0,1)
	Quantile float64 // share of the held out rows that lie below the threshold, in (0,1)
	Clip     float64 // standard deviations beyond which a metric counts no more; above 0
}

// DefaultConfig returns what measures well on SMD's servers; see
// docs/benchmarks-risk.md.
func DefaultConfig() Config {
	return Config{Worst: 5, Holdout: 0.3, Quantile: 0.998, Clip: 10}
}

// Validate names the first field that is out of its range.
func (c Config) Validate() error {
	switch {
	case c.Worst < 1 || c.Worst > mostWorst:
		return fmt.Errorf("anomaly: Worst is %d; it must be 1 to %d metrics", c.Worst, mostWorst)
	case !(c.HalfLife >= 0) || math.IsInf(c.HalfLife, 0):
		return fmt.Errorf("anomaly: HalfLife is %v; it must be 0 or more rows", c.HalfLife)
	case !(c.Holdout > 0 && c.Holdout < 1):
		return fmt.Errorf("anomaly: Holdout is %v; it must be in (0,1)", c.Holdout)
	case !(c.Quantile > 0 && c.Quantile < 1):
		return fmt.Errorf("anomaly: Quantile is %v; it must be in (0,1)", c.Quantile)
	case !(c.Clip > 0):
		return fmt.Errorf("anomaly: Clip is %v; it must be above 0", c.Clip)
	}
	return nil
}

// Errors about the rows to fit.
var (
	ErrFewRows = errors.New("too few rows")
	ErrWidth   = errors.New("wrong number of values")
)

// minRows is how many rows a fit needs, and how many must be held out.
const minRows = 20

// leastSpread is the least standard deviation of a metric, as a share of its
// largest value: one that never moved may move a little. Of a metric that was
// always 0 it is the deviation itself.
const leastSpread = 1e-3

// Detector judges rows. It does not change and may be used concurrently.
type Detector struct {
	cfg          Config
	mean, spread []float64 // of each metric
	threshold    float64
}

// Fit fits a detector to rows of ordinary operation in the order of time, one
// value per metric, NaN where one was not reported. The threshold is the quantile
// of the smoothed surprises of the last rows under a fit of the rows before them;
// the detector itself is fitted to all. Some failures among the rows do little
// harm; a threshold below them would be the better one then.
//
// Errors: those of [Config.Validate]; ErrFewRows; ErrWidth for rows of different
// widths.
func Fit(rows [][]float64, cfg Config) (*Detector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	held := int(cfg.Holdout * float64(len(rows)))
	if held < minRows || len(rows)-held < minRows {
		return nil, fmt.Errorf("anomaly: %w: %d rows, of which %d are held out; both parts need %d", ErrFewRows, len(rows), held, minRows)
	}
	for i, row := range rows {
		if len(row) != len(rows[0]) {
			return nil, fmt.Errorf("anomaly: %w: row %d has %d, row 0 has %d", ErrWidth, i, len(row), len(rows[0]))
		}
	}
	before := len(rows) - held
	d := fitLevels(rows[:before], cfg)
	tracker := d.Track()
	var seen []float64
	for _, row := range rows[before:] {
		score, _, err := tracker.Push(row)
		if err != nil {
			return nil, err
		}
		if !math.IsNaN(score) {
			seen = append(seen, score)
		}
	}
	if len(seen) < minRows {
		return nil, fmt.Errorf("anomaly: %w: %d of the held out rows report anything; %d are needed", ErrFewRows, len(seen), minRows)
	}
	slices.Sort(seen)
	d = fitLevels(rows, cfg)
	d.threshold = seen[int(cfg.Quantile*float64(len(seen)-1))]
	return d, nil
}

// NewDetector returns the detector of known levels. A metric whose spread is NaN
// takes no part. Worst and Clip are those of [Config].
func NewDetector(mean, spread []float64, threshold float64, worst int, clip float64) (*Detector, error) {
	cfg := DefaultConfig()
	cfg.Worst, cfg.Clip = worst, clip
	if len(mean) != len(spread) {
		return nil, fmt.Errorf("anomaly: %w: %d means, %d spreads", ErrWidth, len(mean), len(spread))
	}
	return &Detector{cfg: cfg, mean: mean, spread: spread, threshold: threshold}, cfg.Validate()
}

// Threshold returns the smoothed surprise above which a component is unusual.
func (d *Detector) Threshold() float64 { return d.threshold }

// Level returns a metric's usual level and standard deviation; the latter is NaN for
// one that takes no part.
func (d *Detector) Level(metric int) (mean, spread float64) { return d.mean[metric], d.spread[metric] }

// Surprise returns how unusual a row is by itself: the mean of log(1+z²) over the
// [Config.Worst] most unusual of its reported metrics, z a metric's distance from
// its usual level in standard deviations, clipped. It writes each metric's
// log(1+z²) to parts, NaN where it was not reported; parts may be nil and else has
// the row's width. It is NaN for a row that reports nothing. Another width is
// ErrWidth.
func (d *Detector) Surprise(row, parts []float64) (float64, error) {
	if len(row) != len(d.mean) || parts != nil && len(parts) != len(row) {
		return math.NaN(), fmt.Errorf("anomaly: %w: %d metrics, %d parts; the detector has %d", ErrWidth, len(row), len(parts), len(d.mean))
	}
	var room [mostWorst]float64
	w := worst{room[:0:min(d.cfg.Worst, len(row))]} // of |z|, which rises with the surprise
	for c, v := range row {
		z := min(d.cfg.Clip, math.Abs(v-d.mean[c])/d.spread[c])
		if parts != nil {
			parts[c] = math.Log1p(z * z)
		}
		w.add(z)
	}
	for i, z := range w.of {
		w.of[i] = math.Log1p(z * z)
	}
	return w.mean(), nil
}

// surprise is that of one metric; NaN if it was not reported.
func surprise(v, mean, spread, clip float64) float64 {
	z := min(clip, math.Abs(v-mean)/spread)
	return math.Log1p(z * z)
}

// worst keeps the largest surprises, as many as it has room for, rising.
type worst struct{ of []float64 }

func (w *worst) add(part float64) {
	if part != part || cap(w.of) == 0 {
		return
	}
	n := len(w.of)
	if n < cap(w.of) { // into the gap at its end
		w.of = w.of[:n+1]
		for ; n > 0 && w.of[n-1] > part; n-- {
			w.of[n] = w.of[n-1]
		}
		w.of[n] = part
		return
	}
	if part <= w.of[0] {
		return
	}
	at := 0 // into the place of the least
	for ; at+1 < n && w.of[at+1] < part; at++ {
		w.of[at] = w.of[at+1]
	}
	w.of[at] = part
}

// mean is NaN when there is none.
func (w *worst) mean() float64 {
	sum := 0.0
	for _, part := range w.of {
		sum += part
	}
	return sum / float64(len(w.of))
}

// rms is the root of the mean square: a single metric that is far off stands out
// more than in the mean. It is NaN when there is none.
func (w *worst) rms() float64 {
	sum := 0.0
	for _, part := range w.of {
		sum += part * part
	}
	return math.Sqrt(sum / float64(len(w.of)))
}

// fitLevels returns a detector without a threshold.
func fitLevels(rows [][]float64, cfg Config) *Detector {
	m := newMoments(len(rows[0]))
	for _, row := range rows {
		m.add(row)
	}
	return m.detector(cfg)
}

// moments are what is known of each metric's values (Welford 1962).
type moments []moment

type moment struct{ n, mean, squares, largest float64 }

func newMoments(metrics int) moments { return make(moments, metrics) }

// add takes a row. What is missing or infinite takes no part.
func (m moments) add(row []float64) {
	for c, v := range row[:len(m)] {
		if v-v != 0 {
			continue
		}
		x := &m[c]
		x.n++
		delta := v - x.mean
		x.mean += delta / x.n
		x.squares += delta * (v - x.mean)
		x.largest = max(x.largest, math.Abs(v))
	}
}

// detector returns one without a threshold. A metric of which next to nothing was
// seen takes no part.
func (m moments) detector(cfg Config) *Detector {
	d := &Detector{cfg: cfg, mean: make([]float64, len(m)), spread: make([]float64, len(m)), threshold: math.Inf(1)}
	for c, x := range m {
		d.mean[c], d.spread[c] = x.mean, math.NaN()
		if x.n < minRows {
			continue
		}
		d.spread[c] = max(math.Sqrt(x.squares/x.n), leastSpread*x.largest)
		if d.spread[c] == 0 {
			d.spread[c] = leastSpread
		}
	}
	return d
}
