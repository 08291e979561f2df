package train

import (
	"cmp"
	"math"
	"slices"
)

// Alarms is what the alarms of one threshold give. A false alarm begins with a
// row that has no incident ahead and reaches the threshold, and stands while
// the next rows of its component do; while it stands it counts again after each
// day, or unit of time where that is no unit of the clock. An incident is a run
// of positive rows of a component that announce the same event; it is caught
// when one of them reaches the threshold with at least the lead left, and late
// when the first that does comes after that.
type Alarms struct {
	Budget    float64 // false alarms accepted for each 1,000 days; NaN: the threshold was given
	Threshold float64 // given, or the lowest that keeps to the budget on this very table

	FalseAlarms, Incidents, CaughtIncidents, LateIncidents int
	FailingComponents, CaughtComponents                    int // with an incident; with one that was caught

	Rate       Estimate // false alarms for each 1,000 days of a component
	Caught     Estimate // share of the incidents
	Late       Estimate // share of the incidents
	Components Estimate // share of the failing components of which an incident was caught
	Precision  Estimate // share of the alarms that an incident followed, late ones included
	LeadMedian Estimate // of the caught incidents, from their first alarm, in the table's unit
	LeadP10    Estimate // nine of ten had at least this

	RowPrecision, RowRecall Estimate // of the rows at the threshold
}

// point is what the alarms of a threshold give, component by component.
type point struct {
	units []unitAlarms // that have alarms or incidents
	leads []unitLead   // of caught incidents, rising
}

type unitAlarms struct {
	unit                           int32
	wrong, incidents, caught, late int32
}

type unitLead struct {
	left float64
	unit int32
}

func newPoint(t *timeline, threshold float64) *point {
	p := &point{}
	of := map[int32]int{}
	at := func(unit int32) *unitAlarms {
		i, ok := of[unit]
		if !ok {
			i = len(p.units)
			of[unit] = i
			p.units = append(p.units, unitAlarms{unit: unit})
		}
		return &p.units[i]
	}
	t.falseAlarms(threshold, func(row int) { at(t.s.Group[row]).wrong++ })
	for _, in := range t.incidents {
		unit := t.s.Group[in.first]
		u := at(unit)
		u.incidents++
		switch row, left := t.alarm(in, threshold); {
		case row < 0:
		case left >= t.lead:
			u.caught++
			p.leads = append(p.leads, unitLead{left, unit})
		default:
			u.late++
		}
	}
	slices.SortFunc(p.units, func(a, b unitAlarms) int { return cmp.Compare(a.unit, b.unit) })
	slices.SortFunc(p.leads, func(a, b unitLead) int {
		return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.unit, b.unit))
	})
	return p
}

// count fills in the numbers.
func (p *point) count(a *Alarms) {
	for _, u := range p.units {
		a.FalseAlarms += int(u.wrong)
		a.Incidents += int(u.incidents)
		a.CaughtIncidents += int(u.caught)
		a.LateIncidents += int(u.late)
		if u.incidents > 0 {
			a.FailingComponents++
		}
		if u.caught > 0 {
			a.CaughtComponents++
		}
	}
}

// figures appends what the alarms come to under the weights, in the order of
// [Evaluation.estimates].
func (p *point) figures(weight []uint16, exposure float64, out []float64) []float64 {
	var wrong, incidents, caught, late, failing, found float64
	for i := range p.units {
		u := &p.units[i]
		w := float64(weight[u.unit])
		wrong += w * float64(u.wrong)
		incidents += w * float64(u.incidents)
		caught += w * float64(u.caught)
		late += w * float64(u.late)
		if u.incidents > 0 {
			failing += w
		}
		if u.caught > 0 {
			found += w
		}
	}
	return append(out, 1000*ratio(wrong, exposure), ratio(caught, incidents), ratio(late, incidents), ratio(found, failing),
		ratio(caught+late, caught+late+wrong), p.lead(weight, caught, 0.5), p.lead(weight, caught, 0.1))
}

// lead returns the q-quantile of the times that were left, of so many; NaN of
// none.
func (p *point) lead(weight []uint16, caught, q float64) float64 {
	at := math.Floor(q*(caught-1) + 0.5)
	for _, l := range p.leads {
		if at -= float64(weight[l.unit]); at < 0 {
			return l.left
		}
	}
	return math.NaN()
}
