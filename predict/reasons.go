package predict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stratoswarm/forestall"
)

// What is too small to be a reason: in log-odds, and as a share of its metric's
// whole contribution for a second phrase.
const (
	minContribution = 0.2
	minPhraseShare  = 0.2
)

// group is what the features of one metric contribute together.
type group struct {
	features []int // of the model, the weightiest first
	sum      float64
}

// reasons groups the contributions in b.shares by metric, since the features of
// one metric share what is one fact to a reader, and words the largest, in
// either direction, at most n. A reason names its group's weightiest feature.
func (j *judge) reasons(b *buffers, n int) []forestall.Reason {
	byMetric := map[string]*group{}
	var groups []*group
	for f, i := range j.place {
		if b.shares[f] == 0 {
			continue
		}
		metric := j.schema.Describe(i).Metric
		g := byMetric[metric]
		if g == nil {
			g = &group{}
			byMetric[metric] = g
			groups = append(groups, g)
		}
		g.features = append(g.features, f)
		g.sum += b.shares[f]
	}
	groups = slices.DeleteFunc(groups, func(g *group) bool { return math.Abs(g.sum) < minContribution })
	slices.SortStableFunc(groups, func(g, h *group) int { return cmp.Compare(math.Abs(h.sum), math.Abs(g.sum)) })
	var out []forestall.Reason
	for _, g := range groups[:min(n, len(groups))] {
		slices.SortStableFunc(g.features, func(f, h int) int {
			return cmp.Compare(math.Abs(b.shares[h]), math.Abs(b.shares[f]))
		})
		top := g.features[0]
		out = append(out, forestall.Reason{
			Feature:      j.schema.Names()[j.place[top]],
			Value:        b.row[top],
			Contribution: g.sum,
			Text:         fmt.Sprintf("%s (%+.1f)", j.text(g, b), g.sum),
		})
	}
	return out
}

// text words a group: the metric's present value and up to two phrases about
// what weighed most.
func (j *judge) text(g *group, b *buffers) string {
	first := j.schema.Describe(j.place[g.features[0]])
	label := wordsOf(first.Metric).label
	var phrases []string
	if at := j.last[g.features[0]]; at >= 0 && isLevel(first.Metric) {
		phrases = append(phrases, phrase(j.schema.Describe(at), b.vector[at]))
	}
	added := 0
	for _, f := range g.features {
		d := j.schema.Describe(j.place[f])
		same := b.shares[f]*g.sum > 0 && math.Abs(b.shares[f]) >= minPhraseShare*math.Abs(g.sum)
		p := phrase(d, b.row[f])
		if !same || added == 2 || slices.Contains(phrases, p) {
			continue
		}
		phrases = append(phrases, p)
		added++
	}
	if len(phrases) == 0 {
		phrases = []string{phrase(first, b.row[g.features[0]])}
	}
	if since := j.onSince(g, b); since > 0 { // "row remap pending for 3 h"
		label, phrases[0] = strings.TrimSuffix(label, ":"), "for "+ago(since)
	}
	return strings.TrimPrefix(label+" ", " ") + strings.Join(phrases, ", ")
}

// onSince returns for how many seconds a metric that is on or off has been on;
// 0: it is not, or that is not known.
func (j *judge) onSince(g *group, b *buffers) float64 {
	f := g.features[0]
	at, since := j.last[f], j.since[f]
	if at < 0 || since < 0 || wordsOf(j.schema.Describe(at).Metric).kind != onOff || !(b.vector[at] >= 0.5 && b.vector[since] > 0) {
		return 0
	}
	return b.vector[since]
}
