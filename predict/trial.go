package predict

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// Trial compares two models on the same predictions: a champion, whose risks
// count, and a challenger in its shadow. A pair of predictions is judged like
// one of an [Accuracy], by the logarithmic score. Pairs of which one is Unknown
// are none; where the challenger's is, the champion speaks alone, which is counted.
//
// Both answer one question: whether a component fails within a horizon after a
// lead. The probability of a model whose horizon is another is brought to that
// one at a constant hazard, 1-(1-p)^(H/h).
//
// Its methods may be called concurrently. Times are those of the arguments.
type Trial struct {
	champion, challenger string // digests of the models' cards
	lead, horizon        time.Duration

	mu     sync.Mutex
	from   time.Time
	tracks map[forestall.Component]*pairTrack
	sums   map[forestall.Component]*pairSum
}

// pairTrack is what waits of one component.
type pairTrack struct {
	Since   time.Time `json:"since"`
	Pending []pair    `json:"pending,omitempty"`
	Alone   time.Time `json:"alone,omitzero"` // when the champion last spoke alone
	Down    bool      `json:"down,omitempty"`
	Failed  time.Time `json:"failed,omitzero"`
}

type pair struct {
	At         time.Time `json:"at"`
	Until      time.Time `json:"until"`
	Champion   float64   `json:"p"`
	Challenger float64   `json:"q"`
}

// cut drops what was noted by a clock that was set back since.
func (t *pairTrack) cut(now time.Time) {
	t.Pending = slices.DeleteFunc(t.Pending, func(p pair) bool { return ahead(p.At, now) })
	for _, noted := range []*time.Time{&t.Since, &t.Alone, &t.Failed} {
		if ahead(*noted, now) {
			*noted = now
		}
	}
}

// pairSum is what matured of one component.
type pairSum struct {
	Rows      int     `json:"rows"`
	Alone     int     `json:"alone,omitempty"` // predictions of the champion to which the challenger had none
	Positives int     `json:"positives"`
	Failures  int     `json:"failures"`
	LossP     float64 `json:"loss_p"` // nats, summed
	LossQ     float64 `json:"loss_q"`
	ExpectedP float64 `json:"expected_p"`
	ExpectedQ float64 `json:"expected_q"`
}

// NewTrial returns one that has seen nothing, of two models by the digests of
// their cards, and over which lead and horizon both are judged: those of the
// newer of the two, because they are what it was made for. A zero horizon is that
// of each of the champion's predictions.
func NewTrial(champion, challenger string, lead, horizon time.Duration) *Trial {
	return &Trial{
		champion: champion, challenger: challenger, lead: lead, horizon: horizon,
		tracks: map[forestall.Component]*pairTrack{}, sums: map[forestall.Component]*pairSum{},
	}
}

// Of reports whether the trial is of these models.
func (t *Trial) Of(champion, challenger string) bool {
	return t != nil && t.champion == champion && t.challenger == challenger
}

// Predict takes what both models say of a component at the same time.
func (t *Trial) Predict(champion, challenger forestall.Risk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	track := t.tracks[champion.Component]
	if track == nil {
		track = &pairTrack{Since: champion.Time}
		t.tracks[champion.Component] = track
	}
	track.cut(champion.Time)
	if ahead(t.from, champion.Time) {
		t.from = champion.Time
	}
	if track.Down {
		if champion.Grade != forestall.Healthy {
			return
		}
		track.Down = false
	}
	if champion.Grade == forestall.Unknown {
		return
	}
	if t.from.IsZero() {
		t.from = champion.Time
	}
	h := t.horizon
	if h == 0 {
		h = champion.Horizon
	}
	if challenger.Grade == forestall.Unknown {
		if champion.Time.Sub(track.Alone) >= h/pendingPerHorizon {
			track.Alone = champion.Time
			t.sum(champion.Component).Alone++
		}
		return
	}
	if n := len(track.Pending); n == 0 || champion.Time.Sub(track.Pending[n-1].At) >= h/pendingPerHorizon {
		track.Pending = append(track.Pending, pair{champion.Time, champion.Time.Add(t.lead + h), over(champion, h), over(challenger, h)})
	}
}

// over returns a risk's probability brought to another horizon at a constant
// hazard.
func over(r forestall.Risk, horizon time.Duration) float64 {
	if r.Horizon <= 0 || r.Horizon == horizon {
		return r.Probability
	}
	return 1 - math.Pow(1-r.Probability, horizon.Seconds()/r.Horizon.Seconds())
}

// Fail takes a failure, as [Accuracy.Fail] does.
func (t *Trial) Fail(f forestall.Failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	track := t.tracks[f.Component]
	if track == nil || !f.Time.After(track.Failed) {
		return
	}
	if track.Down || !track.Since.Before(f.Time) {
		track.Failed = f.Time
		return
	}
	t.settle(f.Component, track, f.Time)
	followed := false
	for _, p := range track.Pending {
		if left := f.Time.Sub(p.At); left > 0 && left >= t.lead {
			t.sum(f.Component).count(p, true)
			followed = true
		}
	}
	if followed {
		t.sum(f.Component).Failures++
	}
	*track = pairTrack{Since: track.Since, Down: true, Failed: f.Time}
}

// Mature settles the pairs whose horizon has passed without a failure.
func (t *Trial) Mature(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c, track := range t.tracks {
		t.settle(c, track, now)
	}
}

// Forget drops what waits of a component that is no more.
func (t *Trial) Forget(c forestall.Component) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tracks, c)
}

func (t *Trial) settle(c forestall.Component, track *pairTrack, now time.Time) {
	n := 0
	for ; n < len(track.Pending) && track.Pending[n].Until.Before(now); n++ {
		t.sum(c).count(track.Pending[n], false)
	}
	track.Pending = slices.Delete(track.Pending, 0, n)
}

func (t *Trial) sum(c forestall.Component) *pairSum {
	s := t.sums[c]
	if s == nil {
		s = &pairSum{}
		t.sums[c] = s
	}
	return s
}

func (s *pairSum) count(p pair, failed bool) {
	s.Rows++
	if failed {
		s.Positives++
	}
	s.LossP += logLoss(p.Champion, failed)
	s.LossQ += logLoss(p.Challenger, failed)
	s.ExpectedP += p.Champion
	s.ExpectedQ += p.Challenger
}

// logLoss is the logarithmic score in nats. Probabilities are kept 1e-6 away
// from 0 and 1, so that one surprise does not decide all.
func logLoss(p float64, failed bool) float64 {
	p = min(max(p, 1e-6), 1-1e-6)
	if failed {
		return -math.Log(p)
	}
	return -math.Log1p(-p)
}

// TrialResult is what a trial has shown. Those of several engines add up,
// because a component is judged by one of them.
type TrialResult struct {
	Champion   string    `json:"champion"`
	Challenger string    `json:"challenger"`
	From       time.Time `json:"from,omitzero"`   // the first pair
	Components int       `json:"components"`      // with pairs that matured
	Rows       int       `json:"rows"`            // pairs that matured
	Alone      int       `json:"alone,omitempty"` // predictions of the champion to which the challenger had none
	Positives  int       `json:"positives"`       // those of them that a failure followed
	Failures   int       `json:"failures"`        // that followed a pair
	LossP      float64   `json:"loss_p"`          // the champion's logarithmic score, nats, summed
	LossQ      float64   `json:"loss_q"`          // the challenger's
	ExpectedP  float64   `json:"expected_p"`      // positives by the champion's probabilities
	ExpectedQ  float64   `json:"expected_q"`
	Gain       float64   `json:"gain"`         // LossP - LossQ: positive where the challenger is better
	GainSquare float64   `json:"gain_squares"` // of the components' gains, summed
}

// Result returns what has matured.
func (t *Trial) Result() TrialResult {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := TrialResult{Champion: t.champion, Challenger: t.challenger, From: t.from}
	for _, c := range slices.SortedFunc(maps.Keys(t.sums), forestall.Component.Compare) { // sums of floats depend on the order
		s := t.sums[c]
		gain := s.LossP - s.LossQ
		if r.Alone += s.Alone; s.Rows == 0 {
			continue
		}
		r.Components++
		r.Rows, r.Positives, r.Failures = r.Rows+s.Rows, r.Positives+s.Positives, r.Failures+s.Failures
		r.LossP, r.LossQ = r.LossP+s.LossP, r.LossQ+s.LossQ
		r.ExpectedP, r.ExpectedQ = r.ExpectedP+s.ExpectedP, r.ExpectedQ+s.ExpectedQ
		r.Gain, r.GainSquare = r.Gain+gain, r.GainSquare+gain*gain
	}
	return r
}

// Add adds another engine's result of the same trial; one of other models is
// passed over.
func (r *TrialResult) Add(o TrialResult) {
	if o.Champion != r.Champion || o.Challenger != r.Challenger {
		return
	}
	if r.From.IsZero() || !o.From.IsZero() && o.From.Before(r.From) {
		r.From = o.From
	}
	r.Components, r.Alone = r.Components+o.Components, r.Alone+o.Alone
	r.Rows, r.Positives, r.Failures = r.Rows+o.Rows, r.Positives+o.Positives, r.Failures+o.Failures
	r.LossP, r.LossQ = r.LossP+o.LossP, r.LossQ+o.LossQ
	r.ExpectedP, r.ExpectedQ = r.ExpectedP+o.ExpectedP, r.ExpectedQ+o.ExpectedQ
	r.Gain, r.GainSquare = r.Gain+o.Gain, r.GainSquare+o.GainSquare
}

// Z returns how many standard errors the challenger is better by, with whole
// components as what varies: rows of one are not independent. 0 while there are
// fewer than two.
func (r TrialResult) Z() float64 {
	n := float64(r.Components)
	if n < 2 {
		return 0
	}
	variance := (r.GainSquare - r.Gain*r.Gain/n) * n / (n - 1)
	if !(variance > 1e-18) {
		return 0
	}
	return r.Gain / math.Sqrt(variance)
}

// trialState is a Trial on disk.
type trialState struct {
	Champion   string                             `json:"champion"`
	Challenger string                             `json:"challenger"`
	From       time.Time                          `json:"from,omitzero"`
	Tracks     map[forestall.Component]*pairTrack `json:"tracks,omitempty"` // of version 1
	Sums       map[forestall.Component]*pairSum   `json:"sums"`
}

func (t *Trial) state() trialState {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := trialState{t.champion, t.challenger, t.from, map[forestall.Component]*pairTrack{}, map[forestall.Component]*pairSum{}}
	for c, track := range t.tracks {
		copied := *track
		copied.Pending = slices.Clone(track.Pending)
		s.Tracks[c] = &copied
	}
	for c, sum := range t.sums {
		copied := *sum
		s.Sums[c] = &copied
	}
	return s
}

func (s *trialState) check() error {
	for c, t := range s.Tracks {
		if t == nil {
			return fmt.Errorf("nothing is said of %s in a trial", c)
		}
		for _, p := range t.Pending {
			if !(p.Champion >= 0 && p.Champion <= 1 && p.Challenger >= 0 && p.Challenger <= 1) {
				return fmt.Errorf("%s: a pair is not of probabilities", c)
			}
		}
	}
	for c, sum := range s.Sums {
		if sum == nil {
			return fmt.Errorf("nothing is summed of %s in a trial", c)
		}
	}
	return nil
}

// adopt takes up what was seen of the same two models before.
func (t *Trial) adopt(s trialState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Champion != t.champion || s.Challenger != t.challenger || s.Tracks == nil || s.Sums == nil {
		return
	}
	t.from, t.tracks, t.sums = s.From, s.Tracks, s.Sums
}
