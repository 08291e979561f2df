package anomaly

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Step is how long the rows of a [Learner] are: of what is scraped within it a
// gauge counts with its mean, and a counter (a metric whose name ends in _total)
// with its rate.
const Step = time.Minute

// stepsPerDay is how many rows a day has.
const stepsPerDay = float64(24 * time.Hour / Step)

// Bounds of a learner.
const (
	maxSeries = 1024 // metrics of a component; more are passed over, and counted
	leastRows = 60   // of a metric before it is judged
	showParts = 5    // deviations that a standing names at most
)

// LearnConfig says how a learner learns.
type LearnConfig struct {
	Alarms     float64         // how often a day a component may become unusual, for whatever cause; above 0
	Memory     time.Duration   // over which levels are learnt: an older row counts e^-1
	Worst      int             // metrics of a row that count, the most unusual ones
	Clip       float64         // standard deviations beyond which a metric counts no more
	Hysteresis float64         // share of the threshold below which what is unusual must fall
	Skip       map[string]bool // metrics that are not watched: those that always grow, say
}

// DefaultLearnConfig returns what an engine that is given no other uses.
func DefaultLearnConfig() LearnConfig {
	return LearnConfig{Alarms: 0.2, Memory: 7 * 24 * time.Hour, Worst: 5, Clip: 100, Hysteresis: 0.2}
}

// Validate names the first field that is out of its range.
func (c LearnConfig) Validate() error {
	switch {
	case !(c.Alarms > 0 && c.Alarms <= 24):
		return fmt.Errorf("anomaly: Alarms is %v; it must be above 0 and at most 24 a day", c.Alarms)
	case c.Memory < 24*time.Hour || c.Memory > 366*24*time.Hour:
		return fmt.Errorf("anomaly: Memory is %v; it must be between a day and a year", c.Memory)
	case c.Worst < 1:
		return fmt.Errorf("anomaly: Worst is %d; it must be 1 or more metrics", c.Worst)
	case !(c.Clip > 0) || math.IsInf(c.Clip, 0):
		return fmt.Errorf("anomaly: Clip is %v; it must be above 0", c.Clip)
	case !(c.Hysteresis >= 0 && c.Hysteresis < 1):
		return fmt.Errorf("anomaly: Hysteresis is %v; it must be at least 0 and less than 1", c.Hysteresis)
	}
	return nil
}

// warm is how long levels are learnt before thresholds are: a whole day, whose
// hours differ.
const warm = 24 * time.Hour

// Needs is how much of a component must be seen before it can be unusual: a day
// for what is usual, then as long as it takes to know that an alarm is as rare as
// is asked for.
func (c LearnConfig) Needs() time.Duration {
	return warm + time.Duration(firstAlarm/c.Alarms*float64(24*time.Hour))
}

// Deviation is one metric of a row against what is usual. Of a counter the values
// are rates per second.
type Deviation struct {
	Metric       string
	Value        float64
	Mean, Spread float64 // usual level and standard deviation
	Part         float64 // of the surprise: log(1+z²)
}

// MetricReported is the share of a component's metrics that a row has: a metric
// that every learner has.
const MetricReported = "reported_ratio"

// Learner learns what is usual of one component and judges each row by what it
// had learnt before it. It is for one goroutine.
type Learner struct {
	cfg    *LearnConfig
	names  map[string]int
	series []series // [0] is MetricReported
	hint   int      // where the next sample's series probably is

	row     int64   // the step under way
	began   int64   // ms, newest scrape before the row
	last    int64   // ms, newest scrape
	scrapes int     // of the row
	refused int64   // ms, the first of the scrapes that were not newer, in a row; 0: none
	rows    float64 // closed so far
	passed  uint64  // samples beyond maxSeries

	levels levels
	score  float64 // of the newest row that was judged; NaN
	parts  []Deviation
	since  int64 // ms, when it became unusual; 0: it is not
	at     float64
	begins uint64 // times that it became unusual
	worst  worst
}

// series is what is known of one metric.
type series struct {
	name    string
	counter bool
	n       float64 // rows learnt, at most the memory's
	mean    float64
	square  float64 // variance

	sum   float64 // of the row under way
	count int
	value float64 // newest, of a counter; NaN: none yet
}

// NewLearner returns one that has seen nothing.
func NewLearner(cfg *LearnConfig) *Learner {
	l := &Learner{cfg: cfg, names: map[string]int{}, score: math.NaN(), worst: worst{make([]float64, 0, cfg.Worst)}}
	l.find(MetricReported)
	return l
}

// find returns a metric's place, a new one if it is new; -1: there is no room.
func (l *Learner) find(name string) int {
	i, ok := l.names[name]
	if ok {
		return i
	}
	if len(l.series) == maxSeries {
		return -1
	}
	i = len(l.series)
	name = strings.Clone(name)
	l.names[name] = i
	l.series = append(l.series, series{name: name, counter: strings.HasSuffix(name, "_total"), value: math.NaN()})
	return i
}

// Scrape takes what was scraped at a time, none if the component was asked and
// reported nothing. What is not newer than the newest is passed over, unless it
// goes on so for a minute: then the clock was set back.
func (l *Learner) Scrape(at time.Time, samples []forestall.Sample) {
	if ms := at.UnixMilli(); ms >= 0 && ms <= l.last {
		if l.refused == 0 || ms < l.refused {
			l.refused = ms
		}
		if ms-l.refused < Step.Milliseconds() {
			return
		}
		l.drop()
	}
	l.refused = 0
	l.Replay(at, samples)
}

// drop leaves the row under way.
func (l *Learner) drop() {
	l.last, l.began, l.row, l.scrapes = 0, 0, 0, 0
	for i := range l.series {
		l.series[i].sum, l.series[i].count = 0, 0
	}
}

// Replay is Scrape of what was recorded: what is not newer than the newest is
// known already.
func (l *Learner) Replay(at time.Time, samples []forestall.Sample) {
	ms := at.UnixMilli()
	if ms <= l.last || ms < 0 {
		return
	}
	if row := ms / Step.Milliseconds(); row != l.row {
		l.close()
		l.row, l.began = row, l.last
	}
	l.last = ms
	l.scrapes++
	for i := range samples {
		l.take(&samples[i])
	}
}

func (l *Learner) take(s *forestall.Sample) {
	if s.Value-s.Value != 0 { // NaN or infinite: not reported
		return
	}
	i := l.hint
	if i >= len(l.series) || l.series[i].name != s.Metric {
		if l.cfg.Skip[s.Metric] {
			return
		}
		if i = l.find(s.Metric); i < 0 {
			l.passed++
			return
		}
	}
	l.hint = i + 1
	x := &l.series[i]
	if !x.counter {
		x.add(s.Value)
		return
	}
	if x.value == x.value {
		grown := s.Value - x.value
		if grown < 0 { // it began anew
			grown = s.Value
		}
		x.add(grown)
	}
	x.value = s.Value
}

// add adds to the row under way; a sum that no number holds begins anew.
func (x *series) add(v float64) {
	if x.sum += v; x.sum-x.sum != 0 {
		x.sum, x.count = 0, 0
		return
	}
	x.count++
}

// close judges the row under way, learns it and begins a new one.
func (l *Learner) close() {
	if l.scrapes == 0 {
		return
	}
	elapsed := float64(l.last-l.began) / 1000
	reported, known := 0, 0
	for i := range l.series[1:] {
		x := &l.series[i+1]
		if x.n > 0 || x.count > 0 {
			known++
		}
		if x.count > 0 {
			reported++
		}
	}
	if known > 0 {
		l.series[0].sum, l.series[0].count = float64(reported)/float64(known), 1
	}
	l.judge(elapsed)
	memory := l.cfg.Memory.Minutes()
	for i := range l.series {
		x := &l.series[i]
		if v, ok := x.now(elapsed); ok {
			x.learn(v, memory)
		}
		x.sum, x.count = 0, 0
	}
	l.scrapes = 0
	l.rows++
}

// now returns the metric's value in the row under way.
func (x *series) now(elapsed float64) (v float64, ok bool) {
	switch {
	case x.count == 0 || x.counter && !(elapsed > 0):
		return 0, false
	case x.counter:
		return x.sum / elapsed, true
	}
	return x.sum / float64(x.count), true
}

// spread is the standard deviation, and at least a thousandth of the level: what
// never moved may move a little.
func (x *series) spread() float64 {
	s := max(math.Sqrt(x.square), leastSpread*math.Abs(x.mean))
	if s == 0 {
		s = leastSpread
	}
	return s
}

// learn takes a value into mean and variance (Welford 1962), once the memory is
// full with an exponential weight. A wild one counts for no more than what doubles
// the variance, so that one reading does not hide all that follow; what is far off
// oftener, or stays at another level, is the usual within the memory all the same.
func (x *series) learn(v, memory float64) {
	if x.n >= leastRows {
		far := math.Sqrt(x.n) * x.spread()
		v = min(max(v, x.mean-far), x.mean+far)
	}
	x.n = min(x.n+1, memory)
	d := v - x.mean
	x.mean += d / x.n
	x.square += (d*(v-x.mean) - x.square) / x.n
	if x.square-x.square != 0 || x.mean-x.mean != 0 { // beyond what a number holds
		x.n, x.mean, x.square = 0, 0, 0
	}
}

// judge scores the row under way.
func (l *Learner) judge(elapsed float64) {
	l.worst.of = l.worst.of[:0]
	for i := range l.series {
		x := &l.series[i]
		if v, ok := x.now(elapsed); ok && x.n >= leastRows {
			l.worst.add(surprise(v, x.mean, x.spread(), l.cfg.Clip))
		}
	}
	l.score = l.worst.rms()
	l.parts = l.parts[:0]
	if l.score != l.score || l.rows < warm.Minutes() {
		return
	}
	threshold := l.levels.threshold(l.cfg.Alarms)
	l.levels.observe(l.score, 1-l.cfg.Hysteresis, l.cfg.forgets())
	switch {
	case l.since != 0 && l.score < l.at*(1-l.cfg.Hysteresis):
		l.since = 0
	case l.since == 0 && l.score >= threshold:
		l.since, l.at = l.row*Step.Milliseconds(), threshold
		l.begins++
	}
	if l.since == 0 {
		return
	}
	for i := range l.series { // what makes it so
		x := &l.series[i]
		v, ok := x.now(elapsed)
		if !ok || x.n < leastRows {
			continue
		}
		l.show(Deviation{x.name, v, x.mean, x.spread(), surprise(v, x.mean, x.spread(), l.cfg.Clip)})
	}
}

// show keeps a deviation if it is among the largest.
func (l *Learner) show(d Deviation) {
	const least = 1.6 // two standard deviations
	if d.Part < least {
		return
	}
	at := len(l.parts)
	for at > 0 && l.parts[at-1].Part < d.Part {
		at--
	}
	if at >= showParts {
		return
	}
	l.parts = append(l.parts, Deviation{})
	copy(l.parts[at+1:], l.parts[at:])
	l.parts[at] = d
	l.parts = l.parts[:min(len(l.parts), showParts)]
}

// Standing is what a learner says of its component.
type Standing struct {
	State      forestall.Usualness
	Score      float64       // of the newest whole row; NaN
	Threshold  float64       // in force; NaN while it is learnt; +Inf: even the highest was reached too often
	Since      time.Time     // when it became unusual; zero: it is not
	Last       time.Time     // newest scrape
	Seen       time.Duration // how much of the component was seen, at most what is needed to judge it
	Deviations []Deviation   // of what is unusual, the largest first
}

// Standing returns how the component stands with its newest whole row.
func (l *Learner) Standing() Standing {
	s := Standing{
		Score: l.score, Threshold: math.NaN(), Last: time.UnixMilli(l.last).UTC(),
		Seen: min(time.Duration(l.rows)*Step, l.cfg.Needs()),
	}
	if l.levels.known(l.cfg.Alarms) {
		s.Threshold = l.levels.threshold(l.cfg.Alarms)
	}
	switch {
	case l.score != l.score || s.Threshold != s.Threshold:
	case l.since != 0:
		s.State, s.Since, s.Threshold = forestall.Unusual, time.UnixMilli(l.since).UTC(), min(s.Threshold, l.at)
		s.Deviations = append(s.Deviations, l.parts...)
	default:
		s.State = forestall.Usual
	}
	return s
}
