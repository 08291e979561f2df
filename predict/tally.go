package predict

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stratoswarm/forestall"
)

// What a tally counts over.
const (
	// TallyWindow is how far back alarms are counted.
	TallyWindow = 90 * 24 * time.Hour

	day        = 24 * time.Hour
	longestGap = time.Hour // between two scores of a component that is observed all along, at least
)

// Tally counts the alarms that each of many thresholds would have raised among
// the components of one kind: an alarm begins when a probability reaches the
// threshold and ends when it falls below threshold x (1 - hysteresis). The
// thresholds at which a component alarms are always the lowest ones, so that
// one number a component is enough to know.
//
// Its methods may be called concurrently. Times are those of the arguments.
type Tally struct {
	keep float64 // 1 - hysteresis
	gap  time.Duration

	mu   sync.Mutex
	on   map[forestall.Component]*alarming
	days map[int64]*tallyDay // by days since 1970
}

// alarming is what is remembered of one component.
type alarming struct {
	Levels int       `json:"levels"` // it alarms at so many of the lowest thresholds
	Seen   time.Time `json:"seen"`   // when it was scored last
}

type tallyDay struct {
	Seconds float64  `json:"seconds"` // that components were observed, together
	Onsets  []uint32 `json:"onsets"`  // alarms that began, by level
}

// NewTally returns an empty tally.
func NewTally(hysteresis float64) *Tally {
	return &Tally{keep: 1 - hysteresis, gap: longestGap, on: map[forestall.Component]*alarming{}, days: map[int64]*tallyDay{}}
}

// ScoredEvery says how often components are scored: one that has not been for three
// times as long, and for more than an hour, was not observed meanwhile.
func (t *Tally) ScoredEvery(interval time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gap = max(longestGap, 3*interval)
}

// Observe takes a risk, with the probability of the model itself: before its odds
// were corrected. A component that is Unknown is not observed: the time
// does not count, and an alarm that stands goes on.
func (t *Tally) Observe(r forestall.Risk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.on[r.Component]
	if r.Grade == forestall.Unknown {
		if a != nil {
			a.Seen = time.Time{}
		}
		return
	}
	if a == nil {
		a = &alarming{}
		t.on[r.Component] = a
	}
	d := t.day(r.Time)
	if gap := r.Time.Sub(a.Seen); !a.Seen.IsZero() && gap > 0 && gap <= t.gap {
		d.Seconds += gap.Seconds()
	}
	if r.Time.After(a.Seen) || a.Seen.Sub(r.Time) > t.gap { // the latter: the clock was set back
		a.Seen = r.Time
	}
	before := a.Levels
	a.Levels = max(levelsUpTo(r.Probability), min(before, levelsUpTo(r.Probability/t.keep)))
	for i := before; i < a.Levels; i++ {
		d.Onsets[i]++
	}
}

// Forget drops a component that is no more.
func (t *Tally) Forget(c forestall.Component) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.on, c)
}

func (t *Tally) day(at time.Time) *tallyDay {
	n := at.Unix() / int64(day/time.Second)
	d := t.days[n]
	if d == nil {
		d = &tallyDay{Onsets: make([]uint32, levels)}
		t.days[n] = d
		maps.DeleteFunc(t.days, func(m int64, _ *tallyDay) bool {
			return m <= n-int64(TallyWindow/day) || m > n+1 // the latter: of a clock that was set back
		})
	}
	return d
}

// Counts returns what was counted within TallyWindow of now.
func (t *Tally) Counts(now time.Time) AlarmCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := AlarmCounts{Onsets: make([]int, levels), Standing: make([]int, levels)}
	oldest, next := now.Add(-TallyWindow).Unix()/int64(day/time.Second), now.Add(leapLimit).Unix()/int64(day/time.Second)
	for n, d := range t.days {
		if n <= oldest || n > next {
			continue
		}
		c.ComponentDays += d.Seconds / day.Seconds()
		for i, v := range d.Onsets {
			c.Onsets[i] += int(v)
		}
	}
	for _, a := range t.on {
		for i := range a.Levels {
			c.Standing[i]++
		}
	}
	return c
}

// AlarmCounts is how many alarms each threshold would have raised. Those of
// several engines add up.
type AlarmCounts struct {
	ComponentDays float64 `json:"component_days"` // observed
	Onsets        []int   `json:"onsets"`         // alarms that began, by level
	Standing      []int   `json:"standing"`       // components that alarm now, by level
}

// Add adds what another engine counted. Counts by other levels, those of another
// version, are passed over.
func (c *AlarmCounts) Add(o AlarmCounts) {
	if len(o.Onsets) != levels || len(o.Standing) != levels {
		return
	}
	if c.Onsets == nil {
		c.Onsets, c.Standing = make([]int, levels), make([]int, levels)
	}
	c.ComponentDays += o.ComponentDays
	for i := range levels {
		c.Onsets[i] += o.Onsets[i]
		c.Standing[i] += o.Standing[i]
	}
}

// alarms is how many a threshold at the level has raised: those that began
// within the window, or that stand if these are more, as after a long quiet.
func (c *AlarmCounts) alarms(i int) float64 {
	if len(c.Onsets) != levels || len(c.Standing) != levels {
		return 0
	}
	return float64(max(c.Onsets[i], c.Standing[i]))
}

// tallyState is a Tally on disk.
type tallyState struct {
	On   map[forestall.Component]*alarming `json:"on"`
	Days map[int64]*tallyDay               `json:"days"`
}

func (t *Tally) state() tallyState {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := tallyState{map[forestall.Component]*alarming{}, map[int64]*tallyDay{}}
	for c, a := range t.on {
		copied := *a
		s.On[c] = &copied
	}
	for n, d := range t.days {
		s.Days[n] = &tallyDay{d.Seconds, slices.Clone(d.Onsets)}
	}
	return s
}

func (s *tallyState) check() error {
	for c, a := range s.On {
		if a == nil || a.Levels < 0 || a.Levels > levels {
			return fmt.Errorf("%s alarms at a number of levels that there is not", c)
		}
	}
	for n, d := range s.Days {
		if d == nil || len(d.Onsets) != levels || !(d.Seconds >= 0) {
			return fmt.Errorf("day %d has not the %d levels of this version", n, levels)
		}
	}
	return nil
}

// adopt takes up what was counted before.
func (t *Tally) adopt(s tallyState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.On != nil {
		t.on = s.On
	}
	if s.Days != nil {
		t.days = s.Days
	}
}
