package train

import (
	"cmp"
	"math"
	"slices"
)

// examples returns the worst false alarms and the worst misses.
func (m *measures) examples(n int) (falseAlarms, misses []Example) {
	high := m.peaks(func(i int) bool { return !m.announces(i) })
	low := m.missed()
	slices.SortStableFunc(high, func(a, b int) int { return cmp.Compare(m.scores.Probability[b], m.scores.Probability[a]) })
	slices.SortStableFunc(low, func(a, b int) int { return cmp.Compare(m.scores.Probability[a], m.scores.Probability[b]) })
	for _, i := range high[:min(n, len(high))] {
		falseAlarms = append(falseAlarms, m.example(i))
	}
	for _, i := range low[:min(n, len(low))] {
		misses = append(misses, m.example(i))
	}
	return falseAlarms, misses
}

// announces reports whether an incident lies ahead of row i.
func (m *measures) announces(i int) bool {
	if m.line != nil {
		return m.line.ahead(i)
	}
	return m.scores.Positive[i]
}

// peaks returns the row of highest probability of each unit among those that
// are wanted.
func (m *measures) peaks(wanted func(i int) bool) (rows []int) {
	best := make([]int32, m.units)
	for i := range best {
		best[i] = -1
	}
	p := m.scores.Probability
	for i := range p {
		u := i
		if m.scores.Group != nil {
			u = int(m.scores.Group[i])
		}
		if wanted(i) && (best[u] < 0 || p[i] > p[best[u]]) {
			best[u] = int32(i)
		}
	}
	for _, i := range best {
		if i >= 0 {
			rows = append(rows, int(i))
		}
	}
	return rows
}

// missed returns the row of highest probability of each incident that leaves
// the lead, or of all its rows where none does.
func (m *measures) missed() (rows []int) {
	if m.line == nil {
		return m.peaks(func(i int) bool { return m.scores.Positive[i] })
	}
	p := m.scores.Probability
	for _, in := range m.line.incidents {
		best, early := in.first, false
		for i := in.first; i < in.end; i++ {
			inTime := in.event-m.scores.Time[i] >= m.line.lead
			if inTime && !early || inTime == early && p[i] > p[best] {
				best, early = i, inTime
			}
		}
		rows = append(rows, best)
	}
	return rows
}

func (m *measures) example(i int) Example {
	s := m.scores
	e := Example{Row: s.tableRow(i), Time: math.NaN(), Event: math.NaN(), Probability: s.Probability[i]}
	if s.Group != nil {
		e.Component = s.Groups[s.Group[i]]
	}
	if s.Time != nil {
		e.Time = s.Time[i]
	}
	if m.line != nil {
		e.Event = m.line.next(i)
	}
	return e
}
