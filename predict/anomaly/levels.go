package anomaly

import (
	"math"
	"time"
)

// Thresholds are tried at these surprises, each about 8.6 % above the one before.
const (
	levelCount = 64 // as many as a word has bits
	levelLeast = 0.05
	levelMost  = 9.25 // above that of a clip at 100 standard deviations
)

var levelAt = func() (at [levelCount]float64) {
	for i := range at {
		at[i] = levelLeast * math.Pow(levelMost/levelLeast, float64(i)/(levelCount-1))
	}
	return at
}()

// firstAlarm is what is added to the alarms seen: so many are as likely as not to
// be exceeded by the expected number (the median of a gamma distribution).
const firstAlarm = 2.0 / 3

// levels counts how often each threshold was crossed, and how long it was watched.
type levels struct {
	Crossed [levelCount]float64
	Days    float64
	up      uint64 // those that the score is above
	rows    float64
}

// forgets is how many rows the thresholds remember: three times as many as it
// takes to see an alarm, and no less than the levels do.
func (c LearnConfig) forgets() float64 {
	const seen = 3
	return max(c.Memory.Minutes(), seen/c.Alarms*(24*time.Hour).Minutes())
}

// observe takes the score of a row.
func (v *levels) observe(score, keep, memory float64) {
	v.rows++
	v.Days += 1 / stepsPerDay
	if v.rows > memory {
		fade := 1 - 1/memory
		v.rows, v.Days = memory, v.Days*fade
		for i := range v.Crossed {
			v.Crossed[i] *= fade
		}
	}
	for i, at := range levelAt {
		bit := uint64(1) << i
		switch {
		case v.up&bit == 0 && score >= at:
			v.up |= bit
			v.Crossed[i]++
		case v.up&bit != 0 && score < keep*at:
			v.up &^= bit
		}
	}
}

// known reports whether enough was watched for a threshold.
func (v *levels) known(bearable float64) bool { return firstAlarm <= bearable*v.Days }

// threshold returns the lowest from which all were crossed no oftener than so many
// times a day; +Inf where there is none, or where too little was watched.
func (v *levels) threshold(bearable float64) float64 {
	at := math.Inf(1)
	for i := levelCount - 1; i >= 0 && v.Crossed[i]+firstAlarm <= bearable*v.Days; i-- {
		at = levelAt[i]
	}
	return at
}
