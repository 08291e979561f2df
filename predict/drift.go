package predict

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
)

// DriftConfig says when telemetry is no longer of the kind that a model knows.
type DriftConfig struct {
	Window time.Duration // live rows of so long are compared with the training's; judged from half of it on
	PSI    float64       // population stability index from which a feature has drifted
	Blind  float64       // share of what the model weighs that, outside of the trained range, makes a window Unknown
}

// DefaultDriftConfig returns the configuration that the engine starts from. An
// index of 0.25 is the usual sign that something else is looked at.
func DefaultDriftConfig() DriftConfig {
	return DriftConfig{Window: 24 * time.Hour, PSI: 0.25, Blind: 0.5}
}

// Validate names the first field that is out of its range.
func (c DriftConfig) Validate() error {
	switch {
	case c.Window <= 0:
		return fmt.Errorf("predict: Drift.Window is %v; it must be positive", c.Window)
	case !(c.PSI > 0):
		return fmt.Errorf("predict: Drift.PSI is %v; it must be positive", c.PSI)
	case !(c.Blind > 0):
		return fmt.Errorf("predict: Drift.Blind is %v; it must be positive, and above 1 nothing is blind", c.Blind)
	}
	return nil
}

// minDriftRows is how many live rows an index needs.
const minDriftRows = 200

// Drift compares the rows that a model scores with those that it was trained
// on. Rows are counted by bin in two halves of the window, so that what it
// speaks of is between half a window and a whole one.
//
// Its methods may be called concurrently. Times are those of the arguments.
type Drift struct {
	of     *model.Distribution
	names  []string
	weight []float64 // share of each feature in the gain of the model's splits; adds up to 1
	cfg    DriftConfig

	mu   sync.Mutex
	half [2]driftHalf // the one under way, and the one before
}

type driftHalf struct {
	From   time.Time `json:"from"` // of the first row
	Rows   int       `json:"rows"`
	Counts []uint32  `json:"counts,omitempty"` // by feature and bin, missing last
}

// newDrift returns nil where the model's card does not say how its training data
// lay.
func newDrift(m *model.Model, cfg DriftConfig) *Drift {
	if m.Card.Distribution == nil {
		return nil
	}
	d := &Drift{of: m.Card.Distribution, names: m.Features(), weight: m.Gain(), cfg: cfg}
	sum := 0.0
	for _, w := range d.weight {
		sum += w
	}
	for i := range d.weight {
		if sum == 0 {
			d.weight[i] = 1 / float64(len(d.weight))
		} else {
			d.weight[i] /= sum
		}
	}
	return d
}

func (d *Drift) bins() (n int) {
	for i := range d.of.Features {
		n += len(d.of.Features[i].Shares) + 1
	}
	return n
}

// observe counts a row.
func (d *Drift) observe(row []float64, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	since := at.Sub(d.half[0].From)
	if d.half[0].Rows > 0 && since < -d.cfg.Window/2 { // the clock was set back
		d.half = [2]driftHalf{}
	}
	if h := &d.half[0]; h.Rows == 0 || since >= d.cfg.Window/2 {
		d.half[1] = driftHalf{}
		if h.Rows > 0 && since < d.cfg.Window { // else it is from before a long time without rows
			d.half[1] = d.half[0]
		}
		d.half[0] = driftHalf{From: at, Counts: make([]uint32, d.bins())}
	}
	h := &d.half[0]
	h.Rows++
	first := 0
	for i, v := range row {
		f := &d.of.Features[i]
		h.Counts[first+f.Bin(v)]++
		first += len(f.Shares) + 1
	}
}

// beyond returns the share of what the model weighs whose value in the row lies
// outside of the range that it was trained on.
func (d *Drift) beyond(row []float64) (share float64) {
	for i, v := range row {
		if d.of.Features[i].Beyond(v) {
			share += d.weight[i]
		}
	}
	return min(share, 1)
}

// strangest words the weightiest of a row's values that lie beyond.
func (d *Drift) strangest(row []float64, describe func(feature int) features.Feature) string {
	var at []int
	for i, v := range row {
		if d.of.Features[i].Beyond(v) && d.weight[i] > 0 {
			at = append(at, i)
		}
	}
	slices.SortStableFunc(at, func(i, j int) int { return cmp.Compare(d.weight[j], d.weight[i]) })
	var words []string
	for _, i := range at[:min(len(at), 3)] {
		f, w := d.of.Features[i], wordsOf(describe(i).Metric)
		words = append(words, fmt.Sprintf("%s is %.4g, trained on %.4g to %.4g", strings.TrimSpace(w.label+" ("+d.names[i]+")"), row[i], f.Min, f.Max))
	}
	return strings.Join(words, "; ")
}

// DriftReport says how far the telemetry is from the training's.
type DriftReport struct {
	Rows    int            // live rows that were counted
	Since   time.Time      // of the first
	Judged  bool           // they suffice: at least half a window and 200 rows
	Weight  float64        // share of what the model weighs that has drifted; NaN unless judged
	Largest float64        // index of a feature that the model weighs; NaN unless judged
	Drifted []DriftFeature // the features that have drifted, the weightiest first
}

// DriftFeature is a feature that has drifted.
type DriftFeature struct {
	Name   string
	PSI    float64
	Weight float64 // share in what the model weighs
}

// Report compares. Features that no split uses are passed over.
func (d *Drift) Report(now time.Time) DriftReport {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := DriftReport{Rows: d.half[0].Rows + d.half[1].Rows, Since: d.half[0].From, Weight: math.NaN(), Largest: math.NaN()}
	if now.Sub(d.half[0].From) >= d.cfg.Window { // a restart after long, and no row since
		r.Rows, r.Since = 0, time.Time{}
		return r
	}
	if d.half[1].Rows > 0 {
		r.Since = d.half[1].From
	}
	if r.Rows < minDriftRows || now.Sub(r.Since) < d.cfg.Window/2 {
		return r
	}
	r.Judged, r.Weight, r.Largest = true, 0, 0
	first := 0
	var counts []uint32
	for i := range d.of.Features {
		n := len(d.of.Features[i].Shares) + 1
		counts = append(counts[:0], d.half[0].Counts[first:first+n]...)
		if d.half[1].Rows > 0 {
			for k, c := range d.half[1].Counts[first : first+n] {
				counts[k] += c
			}
		}
		first += n
		if d.weight[i] == 0 {
			continue
		}
		psi := d.of.PSI(i, counts)
		r.Largest = max(r.Largest, psi)
		if psi >= d.cfg.PSI {
			r.Weight += d.weight[i]
			r.Drifted = append(r.Drifted, DriftFeature{d.names[i], psi, d.weight[i]})
		}
	}
	slices.SortStableFunc(r.Drifted, func(a, b DriftFeature) int { return cmp.Compare(b.Weight, a.Weight) })
	r.Weight = min(r.Weight, 1)
	return r
}

// driftState is a Drift on disk.
type driftState struct {
	Half [2]driftHalf `json:"half"`
}

func (d *Drift) state() driftState {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := driftState{d.half}
	for i := range s.Half {
		s.Half[i].Counts = slices.Clone(s.Half[i].Counts)
	}
	return s
}

func (s *driftState) check() error {
	for _, h := range s.Half {
		if h.Rows < 0 || h.Rows == 0 != (len(h.Counts) == 0) {
			return errors.New("rows and counts of drift do not agree")
		}
	}
	return nil
}

// adopt takes up what was counted before; what does not fit the model is passed
// over.
func (d *Drift) adopt(s driftState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range s.Half {
		if h.Rows > 0 && len(h.Counts) != d.bins() {
			return
		}
	}
	d.half = s.Half
}
