package anomaly

import "math"

// Tracker follows one component. It is for one goroutine.
type Tracker struct {
	d     *Detector
	keep  float64 // weight of the past
	score float64 // NaN before the first row that reports
}

// Track returns a tracker that has seen nothing.
func (d *Detector) Track() *Tracker {
	t := &Tracker{d: d, score: math.NaN()}
	if d.cfg.HalfLife > 0 {
		t.keep = math.Exp2(-1 / d.cfg.HalfLife)
	}
	return t
}

// Push takes the component's next row and returns its smoothed surprise and
// whether that is above the threshold. A row that reports nothing gives NaN and
// false, which says that the component is unknown, not that it is well; the
// smoothing goes on with the next. Another width is ErrWidth.
func (t *Tracker) Push(row []float64) (score float64, unusual bool, err error) {
	s, err := t.d.Surprise(row, nil)
	if err != nil || math.IsNaN(s) {
		return math.NaN(), false, err
	}
	if math.IsNaN(t.score) {
		t.score = s
	}
	t.score = t.keep*t.score + (1-t.keep)*s
	return t.score, t.score > t.d.threshold, nil
}
