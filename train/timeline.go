package train

import (
	"math"
	"slices"
	"sort"
)

// timeline is the rows of each component in the order of time, cut into
// incidents and the time without one.
type timeline struct {
	s         *Scores // arranged
	incidents []incident
	exposure  []float64 // of each component, see [timeline.observed], in day
	total     float64   // of all
	day       float64   // units of time that alarms are counted over; a standing alarm counts again after each
	lead      float64   // units of time that an alarm must leave
}

// incident is a run of rows that announce the same event.
type incident struct {
	first, end int     // rows
	event      float64 // when it happens
}

// newTimeline finds the incidents: runs of positive rows of a component with
// the same event. Rows whose event comes within the lead belong to it whatever
// their label. It happens at its event or, where that is not told, at its last
// row.
func newTimeline(s *Scores, day, lead float64) *timeline {
	s.arrange()
	t := &timeline{s: s, exposure: make([]float64, len(s.Groups)), day: day, lead: lead}
	for first := 0; first < len(s.Time); {
		end := first + 1
		for end < len(s.Time) && s.Group[end] == s.Group[first] {
			end++
		}
		for i := first; i < end; {
			if t.ahead(i) {
				i = t.run(i)
			} else {
				i++
			}
		}
		d := t.observed(first, end) / day
		t.exposure[s.Group[first]] = d
		t.total += d
		first = end
	}
	return t
}

// usualGaps is how many times its median spacing a component may leave out and
// still be taken to have been there.
const usualGaps = 3

// observed returns the time of a component, rows first to end-1, without an
// incident ahead: that between neighbouring rows of which neither has one. A
// longer silence than usualGaps times the component's median spacing, or than a
// day if that is more, counts as no more than that: nothing could have raised an
// alarm meanwhile.
func (t *timeline) observed(first, end int) (sum float64) {
	times := t.s.Time[first:end]
	if len(times) < 2 {
		return 0
	}
	gaps := make([]float64, len(times)-1)
	for i := range gaps {
		gaps[i] = times[i+1] - times[i]
	}
	slices.Sort(gaps)
	most := max(t.day, usualGaps*gaps[len(gaps)/2])
	for i := 1; i < len(times); i++ {
		if !t.ahead(first+i-1) && !t.ahead(first+i) {
			sum += min(times[i]-times[i-1], most)
		}
	}
	return sum
}

// ahead reports whether row i announces an incident or stands so close before
// one that it is too late to.
func (t *timeline) ahead(i int) bool {
	if t.s.Positive[i] {
		return true
	}
	left := t.event(i) - t.s.Time[i]
	return t.lead > 0 && left >= 0 && left <= t.lead
}

func (t *timeline) event(i int) float64 {
	if t.s.Event == nil {
		return math.NaN()
	}
	return t.s.Event[i]
}

// run adds the incident that begins with row i and returns the row after it.
func (t *timeline) run(i int) int {
	s, in := t.s, incident{first: i, event: math.NaN()}
	positive := false
	for ; i < len(s.Time) && s.Group[i] == s.Group[in.first] && t.ahead(i); i++ {
		event := t.event(i)
		if event == event && in.event == in.event && event != in.event {
			break // the next incident
		}
		if in.event != in.event {
			in.event = event
		}
		positive = positive || s.Positive[i]
	}
	in.end = i
	if in.event != in.event {
		in.event = s.Time[i-1]
	}
	if positive {
		t.incidents = append(t.incidents, in)
	}
	return i
}

// falseAlarms calls each for every false alarm at that threshold: a row without
// an incident ahead that reaches it while no alarm stands, and again after each
// day that the alarm stands.
func (t *timeline) falseAlarms(threshold float64, each func(row int)) {
	s := t.s
	at := 0
	for _, in := range t.incidents {
		t.falseBetween(at, in.first, threshold, each)
		at = in.end
	}
	t.falseBetween(at, len(s.Time), threshold, each)
}

func (t *timeline) falseBetween(from, to int, threshold float64, each func(row int)) {
	s := t.s
	counted, stands := 0.0, -1 // when an alarm was counted last; up to which row it stands
	for i := from; i < to; i++ {
		if s.Probability[i] < threshold || t.ahead(i) {
			continue
		}
		if stands != i-1 || i == from || s.Group[i-1] != s.Group[i] || s.Time[i]-counted >= t.day {
			each(i)
			counted = s.Time[i]
		}
		stands = i
	}
}

// countFalse returns how many false alarms a threshold gives.
func (t *timeline) countFalse(threshold float64) (n int) {
	t.falseAlarms(threshold, func(int) { n++ })
	return n
}

// alarm returns the first row of an incident that reaches the threshold and how
// long before the event it stands; -1 where none does.
func (t *timeline) alarm(in incident, threshold float64) (row int, left float64) {
	for i := in.first; i < in.end; i++ {
		if t.s.Probability[i] >= threshold {
			return i, in.event - t.s.Time[i]
		}
	}
	return -1, math.NaN()
}

// next returns when the first incident of row i's component happens that does
// not end before the row; NaN where there is none.
func (t *timeline) next(i int) float64 {
	at := sort.Search(len(t.incidents), func(k int) bool { return t.incidents[k].end > i })
	if at == len(t.incidents) || t.s.Group[t.incidents[at].first] != t.s.Group[i] {
		return math.NaN()
	}
	return t.incidents[at].event
}
