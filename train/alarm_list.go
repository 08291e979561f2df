package train

import (
	"cmp"
	"math"
	"slices"
)

// AlarmOutcome is what became of an alarm, or of an incident without one.
type AlarmOutcome string

// The outcomes.
const (
	AlarmCaught AlarmOutcome = "caught" // an incident came, with at least the lead left
	AlarmLate   AlarmOutcome = "late"   // one came, too soon to act
	AlarmFalse  AlarmOutcome = "false"  // none came within the horizon
	AlarmMissed AlarmOutcome = "missed" // an incident came without an alarm: no alarm, but its row with the highest probability
)

// Alarm is an alarm as [Alarms] counts them.
type Alarm struct {
	Row         int // of the scores as they were given
	Component   int32
	Time        float64
	Probability float64
	Outcome     AlarmOutcome
	Event       float64 // when the incident happened; NaN: none did
}

// ListAlarms returns the alarms of a threshold and the incidents that it missed,
// by time. The scores must tell components and times; they are put in another
// order.
func ListAlarms(s *Scores, threshold float64, unit TimeUnit, lead float64) ([]Alarm, error) {
	opt := EvaluateOptions{Thresholds: []float64{threshold}, Lead: lead}
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	_, day := unit.Rate()
	t := newTimeline(s, day, lead)
	var all []Alarm
	add := func(row int, outcome AlarmOutcome, event float64) {
		all = append(all, Alarm{
			Row: s.tableRow(row), Component: s.Group[row], Time: s.Time[row], Probability: s.Probability[row], Outcome: outcome, Event: event,
		})
	}
	t.falseAlarms(threshold, func(row int) { add(row, AlarmFalse, math.NaN()) })
	for _, in := range t.incidents {
		switch row, left := t.alarm(in, threshold); {
		case row < 0:
			peak := in.first
			for i := in.first; i < in.end; i++ {
				if s.Probability[i] > s.Probability[peak] {
					peak = i
				}
			}
			add(peak, AlarmMissed, in.event)
		case left >= lead:
			add(row, AlarmCaught, in.event)
		default:
			add(row, AlarmLate, in.event)
		}
	}
	slices.SortFunc(all, func(a, b Alarm) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Component, b.Component), cmp.Compare(a.Row, b.Row))
	})
	return all, nil
}
