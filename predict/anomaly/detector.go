package anomaly

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Config says how a detector is fitted.
type Config struct {
	Worst    int     // metrics of a row that count, the most unusual ones; 1 or more
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
	case c.Worst < 1:
		return fmt.Errorf("anomaly: Worst is %d; it must be 1 or more metrics", c.Worst)
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

// Threshold returns the smoothed surprise above which a component is unusual.
func (d *Detector) Threshold() float64 { return d.threshold }

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
	w := worst{make([]float64, 0, min(d.cfg.Worst, len(row)))}
	for c, v := range row {
		part := surprise(v, d.mean[c], d.spread[c], d.cfg.Clip)
		if parts != nil {
			parts[c] = part
		}
		w.add(part)
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
	if len(w.of) == cap(w.of) {
		if part <= w.of[0] {
			return
		}
		w.of = w.of[:copy(w.of, w.of[1:])]
	}
	at, _ := slices.BinarySearch(w.of, part)
	w.of = slices.Insert(w.of, at, part)
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
	width := len(rows[0])
	d := &Detector{cfg: cfg, mean: make([]float64, width), spread: make([]float64, width), threshold: math.Inf(1)}
	for c := range width {
		n, mean, squares, largest := 0.0, 0.0, 0.0, 0.0
		for _, row := range rows {
			if v := row[c]; v == v {
				n++
				delta := v - mean
				mean += delta / n // Welford 1962
				squares += delta * (v - mean)
				largest = max(largest, math.Abs(v))
			}
		}
		d.mean[c] = mean
		if n > 0 {
			d.spread[c] = math.Sqrt(squares / n)
		}
		d.spread[c] = max(d.spread[c], leastSpread*largest)
		if d.spread[c] == 0 {
			d.spread[c] = leastSpread
		}
	}
	return d
}
