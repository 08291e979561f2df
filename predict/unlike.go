package predict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// UnlikeFit fits what a card says of ordinary operation, [model.Unlike], to vectors
// of it. It is for one goroutine.
type UnlikeFit struct {
	names   []string
	place   []int // of the features that take part, in the vector
	cfg     anomaly.Config
	fitting *anomaly.Fitting
	row     []float64
}

// NewUnlikeFit returns one for vectors of a schema, without features of that name.
func NewUnlikeFit(schema *features.Schema, without []string) *UnlikeFit {
	f := &UnlikeFit{cfg: anomaly.DefaultConfig()}
	f.cfg.Clip = anomaly.DefaultLearnConfig().Clip
	skip, counter := Unwatched(), map[string]bool{}
	for _, m := range schema.Metrics() {
		counter[m.Name] = m.Type == features.Counter
	}
	for i, name := range schema.Names() {
		d := schema.Describe(i)
		if hasLevel(d, counter[d.Metric]) && !skip[d.Metric] && !slices.Contains(without, name) {
			f.names, f.place = append(f.names, name), append(f.place, i)
		}
	}
	f.fitting = anomaly.NewFitting(len(f.place), f.cfg)
	f.row = make([]float64, len(f.place))
	return f
}

// hasLevel reports whether a feature has a usual level. What grows for ever has none:
// counters, but for their rates, and times since. What telemetry says of itself is
// not the component's doing: that metrics are missing is judged elsewhere, where it
// is seen whether a source or a component gives less.
func hasLevel(d features.Feature, counter bool) bool {
	switch {
	case d.Metric == "scrape" || d.Metric == "series" || d.Stat == features.StatMissingRatio || d.Stat == features.StatSinceChange:
		return false
	case counter:
		return d.Stat == features.StatRate
	}
	return true
}

// Learn takes a vector to learn levels from.
func (f *UnlikeFit) Learn(vector []float64) { f.fitting.Learn(f.of(vector)) }

// Hold takes a component's vector for the threshold; those come after all that
// levels are learnt from.
func (f *UnlikeFit) Hold(c forestall.Component, at time.Time, vector []float64) error {
	return f.fitting.Hold(c, at, f.of(vector))
}

// Days returns of how many component-days those are that were held.
func (f *UnlikeFit) Days() float64 { return f.fitting.Days() }

func (f *UnlikeFit) of(vector []float64) []float64 {
	for i, at := range f.place {
		f.row[i] = vector[at]
	}
	return f.row
}

// Unlike returns what was fitted, with the threshold for so many alarms in 1,000
// component-days of ordinary operation. The errors are those of
// [anomaly.Fitting.Detector].
func (f *UnlikeFit) Unlike(alarms float64) (*model.Unlike, error) {
	d, err := f.fitting.Detector(alarms / 1000)
	if err != nil {
		return nil, err
	}
	u := &model.Unlike{Worst: f.cfg.Worst, Clip: f.cfg.Clip, Threshold: d.Threshold(), Alarms: alarms, Rows: f.fitting.Rows(), Days: f.fitting.Days()}
	for i, name := range f.names {
		if mean, spread := d.Level(i); spread > 0 {
			u.Levels = append(u.Levels, model.Level{Feature: name, Mean: mean, Spread: spread})
		}
	}
	return u, nil
}

// UnlikeDetector returns the detector of rows of these features that a card
// describes.
func UnlikeDetector(u *model.Unlike, names []string) (*anomaly.Detector, error) {
	mean, spread := make([]float64, len(names)), make([]float64, len(names))
	place := make(map[string]int, len(names))
	for i, name := range names {
		place[name], spread[i] = i, math.NaN()
	}
	for _, l := range u.Levels {
		if i, ok := place[l.Feature]; ok {
			mean[i], spread[i] = l.Mean, l.Spread
		}
	}
	return anomaly.NewDetector(mean, spread, u.Threshold, u.Worst, u.Clip)
}

// unlike follows how unlike components are to what a model was trained on.
type unlike struct {
	detector *anomaly.Detector
	keep     float64 // share of the threshold below which what is unlike must fall

	mu     sync.Mutex
	stands map[forestall.Component]unlikeStanding
	begins uint64
}

type unlikeStanding struct {
	score   float64
	since   time.Time // zero: it is not unlike
	reasons []string
}

// newUnlike returns nil where the card says nothing of ordinary operation.
func newUnlike(m *model.Model, hysteresis float64) (*unlike, error) {
	if m.Card.Unlike == nil {
		return nil, nil
	}
	d, err := UnlikeDetector(m.Card.Unlike, m.Features())
	return &unlike{detector: d, keep: 1 - hysteresis, stands: map[forestall.Component]unlikeStanding{}}, err
}

// take judges a component's row at a time.
func (u *unlike) take(c forestall.Component, at time.Time, row []float64, describe func(int) features.Feature) error {
	score, err := u.detector.Surprise(row, nil)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.stands[c]
	threshold := u.detector.Threshold()
	switch {
	case s.since.IsZero() && score > threshold:
		s.since = at
		u.begins++
	case !s.since.IsZero() && !(score >= u.keep*threshold):
		s.since = time.Time{}
	}
	s.score, s.reasons = score, nil
	if !s.since.IsZero() {
		s.reasons = u.words(row, describe)
	}
	u.stands[c] = s
	return nil
}

func (u *unlike) forget(c forestall.Component) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.stands, c)
}

// standing returns how a component stands; note says why that is not known.
func (u *unlike) standing(c forestall.Component, note string) forestall.Anomaly {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := forestall.Anomaly{Score: math.NaN(), Threshold: u.detector.Threshold()}
	switch s, ok := u.stands[c]; {
	case !ok:
		a.Note = note
	case s.score != s.score:
		a.Note = "no feature that its training knows was reported"
	case s.since.IsZero():
		a.State, a.Score = forestall.Usual, s.score
	default:
		a.State, a.Score, a.Since, a.Reasons = forestall.Unusual, s.score, s.since, slices.Clone(s.reasons)
		a.Threshold *= u.keep // it stays so until it is below
	}
	return a
}

// words says what of a row is most unlike, of each metric its most unusual feature.
func (u *unlike) words(row []float64, describe func(int) features.Feature) (out []string) {
	const most, least = 5, 1.6 // features, and two standard deviations
	parts, at := make([]float64, len(row)), make([]int, len(row))
	if _, err := u.detector.Surprise(row, parts); err != nil {
		return nil
	}
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(i, j int) int { return cmp.Compare(parts[j], parts[i]) }) // NaN comes last
	seen := map[string]bool{}
	for _, i := range at {
		if d := describe(i); parts[i] >= least && !seen[d.Metric] {
			seen[d.Metric] = true
			mean, spread := u.detector.Level(i)
			out = append(out, deviates(d, row[i], mean, spread))
		}
		if len(out) == most {
			break
		}
	}
	return out
}

// deviates words one feature that is not as usual: "corrected memory errors 3.2/s
// over 1h, usually none".
func deviates(d features.Feature, v, mean, spread float64) string {
	text := phrase(d, v)
	usual := phrase(d, mean)
	if text == usual { // it never moved, and moved a little
		usual = fmt.Sprintf("%.6g", mean)
	}
	if _, over, ok := strings.Cut(text, " over "); ok {
		usual = strings.TrimSuffix(usual, " over "+over)
	}
	return strings.TrimPrefix(wordsOf(d.Metric).label+" ", " ") + text + ", usually " + usual + farFrom(v, mean, spread)
}

// Unlike returns how unlike a component is to what its model was trained on; nil
// where the model's card does not know it.
func (s *Scorer) Unlike(c forestall.Component) *forestall.Anomaly {
	j := s.judges[c.Kind]
	if j == nil || j.unlike == nil {
		return nil
	}
	s.mu.Lock()
	note := s.latest[c].Note
	s.mu.Unlock()
	a := j.unlike.standing(c, note)
	return &a
}

// What a reason by [Raise] has in the place of a feature.
const (
	ReasonUnusual = "anomaly"
	ReasonUnlike  = "unlike"
)

// Raise counts a component that its model finds healthy as another grade while it is
// unusual: for itself, or unlike what the model was trained on. Either suffices, and
// the reasons say which. Failing brings the probability up to the threshold of that
// grade; NaN: there is none. Whatever a model says worse stands, and Unknown stays
// unknown: that something is unusual gives no probability.
func Raise(r *forestall.Risk, grade forestall.Grade, failing float64) {
	if r.Grade != forestall.Healthy || grade <= forestall.Healthy {
		return
	}
	var why []forestall.Reason
	for _, of := range []struct {
		a              *forestall.Anomaly
		feature, words string
	}{{r.Anomaly, ReasonUnusual, "unusual for itself"}, {r.Unlike, ReasonUnlike, "unlike what its model was trained on"}} {
		if of.a != nil && of.a.State == forestall.Unusual {
			text := of.words + " since " + of.a.Since.Format("15:04") + ": " + strings.Join(of.a.Reasons, "; ")
			why = append(why, forestall.Reason{Feature: of.feature, Value: of.a.Score, Text: text})
		}
	}
	if len(why) == 0 {
		return
	}
	r.Grade, r.Reasons = grade, append(why, r.Reasons...)
	note := "its model finds it healthy; it counts as " + grade.String() + " because it is unusual"
	if grade == forestall.Failing && failing == failing {
		r.Probability = max(r.Probability, failing)
		note += ", with the probability from which components are failing (anomaly.counts_as)"
	}
	if r.Note != "" {
		note = r.Note + "; " + note
	}
	r.Note = note
}
