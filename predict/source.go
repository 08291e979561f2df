package predict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/model"
)

// What a component's source gives no more is no evidence against the component: a
// monitor that fails is not hardware that fails. Whose loss it is shows beside the
// other GPUs of the node. One that a sibling still reports is the GPU's own, and
// counts; one that no sibling reports any more, or of which there is no sibling to
// tell, is its source's, and takes no part in the risk. The same holds for how long
// the source took. Other kinds of components have no siblings, and are taken at
// their word.

// Collapse begins the note of a risk that is Unknown because the GPU reports
// nothing, or too little, while siblings on its node do: evidence about the GPU, but
// nothing to compute a probability from.
const Collapse = "telemetry collapse: "

// nothing says that a GPU reports nothing while siblings do.
func nothing(siblings int) string {
	return fmt.Sprintf("%sit reports nothing, while %d of its siblings answer", Collapse, siblings)
}

// seen is a component at the moment of a score.
type seen struct {
	component forestall.Component
	last      time.Time
	buffers   *buffers // nil: it cannot be judged
	unknown   string   // why
	had       []int    // metrics that the model weighs which it reported once and does not now
	silent    bool     // it reports nothing, and has not for as long as the longest window reaches
}

// layout is where things lie in a schema's vectors.
type layout struct {
	gap      int                   // scrape_gap_seconds_last
	reported int                   // the share of metrics that the newest scrape has
	vanished []int                 // for each window how many metrics the newest scrape lacks of those that it saw
	newest   []int                 // of each metric, its last value
	means    [][]int               // of each window and metric, its mean: NaN where the window saw none
	metric   map[string]int        // by name
	told     map[string]bool       // metrics that no source gives: the engine knows them
	window   map[time.Duration]int // its number
}

func newLayout(schema *features.Schema) *layout {
	at := &layout{gap: -1, metric: map[string]int{}, told: map[string]bool{}, window: map[time.Duration]int{}}
	find := func(name string) int {
		if i, ok := schema.Index(name); ok {
			return i
		}
		return -1
	}
	at.gap = find("scrape_gap_seconds_last")
	for i, w := range schema.Windows() {
		at.window[w] = i
	}
	at.means = make([][]int, len(at.window))
	for m, metric := range schema.Metrics() {
		at.metric[metric.Name] = m
		at.newest = append(at.newest, find(metric.Name+"_"+features.StatLast))
	}
	for w := range at.means {
		at.means[w] = make([]int, len(at.newest))
	}
	for i := range schema.Names() {
		switch d := schema.Describe(i); {
		case d.Metric == "series" && d.Stat == features.StatLast:
			at.reported = i
		case d.Stat == features.StatVanished:
			at.vanished = append(at.vanished, i)
		case d.Stat == features.StatMean:
			at.means[at.window[d.Window]][at.metric[d.Metric]] = i
		}
	}
	for _, set := range []features.Set{features.History, features.Cohort} {
		for _, m := range features.SetMetrics(schema.Kind(), set) {
			at.told[m.Name] = true
		}
	}
	return at
}

// read reports whether a metric is one that a source reads of the component.
func (at *layout) read(metric string) bool {
	_, ok := at.metric[metric]
	return ok && !at.told[metric] && metric != features.MetricSeries
}

// witnesses returns the vectors of the siblings of one that a source has read since
// it read that one before.
func (j *judge) witnesses(one *seen, siblings []*seen) (all [][]float64) {
	before := time.Time{}
	if gap := one.buffers.vector[j.at.gap]; !math.IsNaN(gap) {
		before = one.last.Add(-time.Duration(gap*1000) * time.Millisecond)
	}
	for _, s := range siblings {
		if s != one && s.buffers != nil && !s.silent && s.last.After(before) {
			all = append(all, s.buffers.vector)
		}
	}
	return all
}

// sourced is what is known of a component's source.
type sourced struct {
	own    []bool // by metric: not reported, and a sibling reports it
	lost   []int  // metrics that were reported within the longest window and are not, which are not its own
	masked []int  // features of the model that take no part in raising the risk
}

// source finds out what one lacks for its source's sake. It takes what vanished so
// out of the vector and the row.
func (j *judge) source(one *seen, witnesses [][]float64) sourced {
	b, at := one.buffers, j.at
	s := sourced{own: make([]bool, len(at.newest))}
	longest := at.means[len(at.means)-1]
	for m, i := range at.newest {
		if !math.IsNaN(b.vector[i]) {
			continue
		}
		s.own[m] = slices.ContainsFunc(witnesses, func(w []float64) bool { return !math.IsNaN(w[i]) })
		if !s.own[m] && !math.IsNaN(b.vector[longest[m]]) {
			s.lost = append(s.lost, m)
		}
	}
	for w, i := range at.vanished {
		for _, m := range s.lost {
			if !math.IsNaN(b.vector[at.means[w][m]]) {
				b.vector[i]--
			}
		}
	}
	// shared reports whether no sibling has far less of what is bad.
	shared := func(i int) bool {
		return !slices.ContainsFunc(witnesses, func(w []float64) bool { return 2*w[i] < b.vector[i] })
	}
	for f, i := range j.place {
		d := j.schema.Describe(i)
		masked := false
		switch {
		case d.Metric == "scrape", d.Stat == features.StatMissingRatio && at.read(d.Metric):
			masked = shared(i)
		case i == at.reported:
			b.row[f] += float64(len(s.lost)) / float64(len(at.newest))
			masked = !slices.ContainsFunc(witnesses, func(w []float64) bool { return w[i] > b.vector[i] })
		case d.Stat == features.StatVanished:
			b.row[f] = b.vector[i]
		case d.Metric == features.MetricSeries:
			i := at.newest[at.metric[d.Metric]]
			masked = !slices.ContainsFunc(witnesses, func(w []float64) bool { return w[i] > b.vector[i] })
		case at.read(d.Metric) && math.IsNaN(b.row[f]):
			m := at.metric[d.Metric]
			masked = math.IsNaN(b.vector[at.newest[m]]) && !s.own[m]
		}
		if masked {
			s.masked = append(s.masked, f)
		}
	}
	return s
}

// note says what is not counted, "" where it is nothing.
func (s sourced) note(j *judge, siblings int) string {
	if len(s.lost) == 0 {
		return ""
	}
	who := "none of its siblings reports them either"
	if siblings == 0 {
		who = "no sibling on its node can tell"
	}
	return fmt.Sprintf("its source gives less than before, which is not counted against it (%s): %s", who, j.metricsOf(s.lost))
}

// metricsOf lists metrics by name.
func (j *judge) metricsOf(metrics []int) string {
	const most = 4
	var names []string
	for _, m := range metrics[:min(len(metrics), most)] {
		names = append(names, j.schema.Metrics()[m].Name)
	}
	if more := len(metrics) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}

// Of a model that was not trained, which was made for no source in particular, so
// much of what it weighs may be missing: many boards have no ECC and no NVLink.
const untrainedBlind = 0.7

// sights is what a model looks at: how much each metric that a source reads weighs,
// by the gain of its splits and as far as its training had it. It adds up to 1.
func (j *judge) sights() []float64 {
	weight := make([]float64, len(j.at.newest))
	gain := j.model.Gain()
	if !slices.ContainsFunc(gain, func(g float64) bool { return g > 0 }) {
		for i := range gain {
			gain[i] = 1
		}
	}
	sum := 0.0
	for f, i := range j.place {
		metric := j.schema.Describe(i).Metric
		if !j.at.read(metric) {
			continue
		}
		w := gain[f]
		if d := j.model.Card.Distribution; d != nil {
			w *= 1 - d.Features[f].Missing
		}
		weight[j.at.metric[metric]] += w
		sum += w
	}
	if sum > 0 {
		for m := range weight {
			weight[m] /= sum
		}
	}
	return weight
}

// blindFrom is the share of what a model weighs that is not reported from which it
// cannot say that nothing is wrong.
func blindFrom(card *model.Card, cfg DriftConfig) float64 {
	if card.Training.HandMade() {
		return max(cfg.Blind, untrainedBlind)
	}
	return cfg.Blind
}

// unseen says that too much is missing now of what the model weighs, the weightiest
// first, "" if it is not. Where the card does not say what the training had, what the
// component has reported itself tells what can be asked of it. What siblings report
// is the component's own loss.
func (j *judge) unseen(one *seen, own []bool, siblings int) string {
	var missing []int
	never, lost, mine := 0.0, 0.0, 0.0
	for m, i := range j.at.newest {
		if j.weight[m] == 0 || !math.IsNaN(one.buffers.vector[i]) {
			continue
		}
		missing = append(missing, m)
		switch known := slices.Contains(one.had, m); {
		case own != nil && own[m]:
			mine += j.weight[m]
			fallthrough
		case known:
			lost += j.weight[m]
		default:
			never += j.weight[m]
		}
	}
	heaviest := func(m, n int) int { return cmp.Compare(j.weight[n], j.weight[m]) }
	slices.SortStableFunc(missing, heaviest)
	used := lost / (1 - never)
	all := never + lost
	fewer := j.model.Card.Distribution == nil && lost > 0 && used >= j.blind
	switch {
	case all < j.unseenFrom && !fewer:
		return ""
	case mine > 0 && mine >= lost/2:
		if one.buffers.vector[j.at.reported] == 0 {
			return nothing(siblings)
		}
		missing = slices.DeleteFunc(missing, func(m int) bool { return !own[m] })
		return fmt.Sprintf("%sit does not report what siblings on its node do (%d of them answer): %s", Collapse, siblings, j.metricsOf(missing))
	case all < j.unseenFrom:
		missing = slices.DeleteFunc(missing, func(m int) bool { return !slices.Contains(one.had, m) })
		return fmt.Sprintf("%s%.0f %% of what the model weighs is reported no more: %s; let its source give them, or train a model on what it gives", Blind, 100*used, j.metricsOf(missing))
	}
	return fmt.Sprintf("%s%.0f %% of what the model weighs is not reported: %s; let its source give them, or train a model on what it gives", Blind, 100*min(all, 1), j.metricsOf(missing))
}
