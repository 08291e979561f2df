package anomaly

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall"
)

// Fitting fits a detector to the rows of many components, which it is shown once,
// in fixed memory: first those that levels are learnt from, then newer ones that
// choose the threshold. All are of ordinary operation.
type Fitting struct {
	cfg   Config
	of    moments
	rows  int
	d     *Detector // of the rows learnt; nil until one is held
	from  time.Time // of the first row held
	peaks map[peakKey]float64
	last  map[forestall.Component]time.Time
	held  time.Duration
}

type peakKey struct {
	component forestall.Component
	day       int64
}

// longestStep is what a row held stands for at most: what is not observed for
// longer is not known to have been ordinary.
const longestStep = time.Hour

// ErrThreshold is wrapped where ordinary operation gives no threshold.
var ErrThreshold = errors.New("no threshold")

// NewFitting returns one for rows of that many metrics. Of the configuration Worst
// and Clip count.
func NewFitting(metrics int, cfg Config) *Fitting {
	return &Fitting{cfg: cfg, of: newMoments(metrics), peaks: map[peakKey]float64{}, last: map[forestall.Component]time.Time{}}
}

// Learn takes a row to learn levels from. Once a row has been held none is learnt.
func (f *Fitting) Learn(row []float64) {
	if f.d == nil {
		f.rows++
		f.of.add(row)
	}
}

// Hold takes a component's row for the threshold: each day of a component gives the
// highest surprise of its rows. A component's rows come in the order of time.
func (f *Fitting) Hold(c forestall.Component, at time.Time, row []float64) error {
	if f.d == nil {
		f.d, f.from = f.of.detector(f.cfg), at
	}
	s, err := f.d.Surprise(row, nil)
	if err != nil || s != s {
		return err
	}
	key := peakKey{c, int64(math.Floor(at.Sub(f.from).Hours() / 24))}
	if p, ok := f.peaks[key]; !ok || s > p {
		f.peaks[key] = s
	}
	if last, ok := f.last[c]; ok {
		f.held += min(max(at.Sub(last), 0), longestStep)
	}
	f.last[c] = at
	return nil
}

// Rows returns how many rows levels were learnt from.
func (f *Fitting) Rows() int { return f.rows }

// Days returns of how many component-days the rows held are: the time between
// neighbouring rows of a component, an hour at most each.
func (f *Fitting) Days() float64 { return f.held.Hours() / 24 }

// Detector returns the detector whose threshold ordinary operation is expected to
// pass so many times a component-day, by [Rare] of the days' peaks. Errors:
// ErrFewRows where too few days were held, ErrThreshold where even the greatest
// surprise that there is would come oftener.
func (f *Fitting) Detector(alarms float64) (*Detector, error) {
	if f.rows < minRows || len(f.peaks) < LeastPeaks {
		return nil, fmt.Errorf("anomaly: %w: %d rows to learn from and %d days of components to choose the threshold by; %d and %d are needed",
			ErrFewRows, f.rows, len(f.peaks), minRows, LeastPeaks)
	}
	peaks := make([]float64, 0, len(f.peaks))
	for _, p := range f.peaks {
		peaks = append(peaks, p)
	}
	at := Rare(peaks, alarms*f.Days())
	if most := math.Log1p(f.cfg.Clip * f.cfg.Clip); !(at > 0 && at < most) {
		return nil, fmt.Errorf("anomaly: %w: a surprise of %.3g is as rare as is asked for, and none is above %.3g", ErrThreshold, at, most)
	}
	d := *f.d
	d.threshold = at
	return &d, nil
}
