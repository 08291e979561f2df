package train

import "math"

// measures takes every figure of an evaluation under weights of the units that
// are resampled: components, or rows.
type measures struct {
	e      Evaluation
	scores *Scores
	rank   *ranking
	units  int
	sums   []unitSums
	cuts   []int // per alarms: how many rows of rank reach its threshold
	line   *timeline
	points []*point // per alarms, with a timeline
}

// unitSums are what the rows of a unit add to the figures that are means.
type unitSums struct {
	rows, positives int32
	loss, brier     float64
}

func newMeasures(s *Scores, opt *EvaluateOptions) *measures {
	m := &measures{scores: s, e: Evaluation{Rows: len(s.Probability)}}
	e := &m.e
	m.units = e.Rows
	if s.Group != nil {
		m.units, e.Components = len(s.Groups), len(s.Groups)
	}
	e.Resamples = resamplesOf(m.units, opt.Bootstrap)
	name, day := opt.Unit.Rate()
	if s.Time != nil {
		e.Rate = name
		m.line = newTimeline(s, day, opt.Lead)
		e.Incidents, e.Exposure = len(m.line.incidents), m.line.total
	}
	m.rank = newRanking(s.Probability, s.Positive, s.Group)
	if s.Group == nil {
		// Rows that are resampled one by one are numbered as they are read.
		for i, key := range m.rank.key {
			m.rank.key[i] = uint32(i)<<1 | key&1
		}
	}
	m.sums = m.rank.sums(m.units)
	for _, u := range m.sums {
		e.Positives += int(u.positives)
	}
	for _, share := range topShares {
		e.Top = append(e.Top, TopShare{Share: share})
	}
	for _, p := range opt.Thresholds {
		e.Alarms = append(e.Alarms, Alarms{Budget: math.NaN(), Threshold: p})
	}
	if m.line != nil {
		budgets := opt.Budgets
		if budgets == nil {
			budgets = DefaultBudgets()
		}
		chosen := make([]float64, len(budgets))
		parallel(threads(opt.Threads), len(budgets), func(_, i int) { chosen[i] = m.threshold(budgets[i]) })
		for i, b := range budgets {
			e.Alarms = append(e.Alarms, Alarms{Budget: b, Threshold: chosen[i]})
		}
	}
	m.points = make([]*point, len(e.Alarms))
	for i := range e.Alarms {
		a := &e.Alarms[i]
		m.cuts = append(m.cuts, m.rank.reach(a.Threshold))
		if m.line != nil {
			m.points[i] = newPoint(m.line, a.Threshold)
			m.points[i].count(a)
		}
	}
	return m
}

// figures appends every figure under the weights, in the order of
// [Evaluation.estimates].
func (m *measures) figures(weight []uint16, out []float64) []float64 {
	var rows, positives, loss, brier float64
	for u := range m.sums {
		s, w := &m.sums[u], float64(weight[u])
		rows += w * float64(s.rows)
		positives += w * float64(s.positives)
		loss += w * s.loss
		brier += w * s.brier
	}
	ap, auc := m.rank.separation(weight)
	base := positives / rows
	out = append(out, ap, auc, loss/rows, brier/rows, 1-brier/rows/(base*(1-base)), m.rank.calibrationError(weight)/rows)
	if base == 0 || base == 1 {
		out[len(out)-2] = math.NaN()
	}
	for _, t := range m.e.Top {
		size := t.Share * rows
		tp := m.rank.top(weight, size)
		out = append(out, tp/size, ratio(tp, positives))
	}
	exposure := 0.0
	if m.line != nil {
		for u, x := range m.line.exposure {
			exposure += float64(weight[u]) * x
		}
	}
	for i, cut := range m.cuts {
		tp, all := m.rank.within(weight, cut)
		out = append(out, ratio(tp, all), ratio(tp, positives))
		if m.line != nil {
			out = m.points[i].figures(weight, exposure, out)
		}
	}
	return out
}

// ratio is NaN where there is nothing to take a share of.
func ratio(n, of float64) float64 {
	if of == 0 {
		return math.NaN()
	}
	return n / of
}

// threshold returns the lowest probability that keeps to so many false alarms
// in 1,000 days of a component. Two alarms may join as it falls, so the number
// of alarms is not quite monotone; the search takes it to be.
func (m *measures) threshold(budget float64) float64 {
	allowed := budget * m.line.total / 1000
	score := m.rank.score
	n := keep(len(score), func(i int) bool { return float64(m.line.countFalse(score[i])) <= allowed })
	if n == 0 {
		return math.Nextafter(score[0], 2)
	}
	return score[n-1]
}

// keep returns how many of 0 to n-1 are good, where none is good after one that
// is not.
func keep(n int, good func(i int) bool) int {
	low, high := 0, n // below low all are good, from high on none is
	for low < high {
		if mid := (low + high) / 2; good(mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}
