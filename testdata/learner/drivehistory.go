package main

import (
	"fmt"
	"math"
	"sort"
)

// The features of a drive for the evaluation of risks: the same kinds that
// package features keeps of each metric in its windows (last, change, number of
// changes, time since the last change, decayed sum), over days instead of
// minutes, and what was known of drives like it.

const (
	driveDecay = 30 * hoursOfDay // hours in which a change counts half
	errorKinds = 5
)

// historyDays are the windows of the changes, countDays those of how often a
// value changed.
var (
	historyDays = []int{7, 30, 90}
	countDays   = []int{30, 90}
)

// errorColumns are the values that count errors of the drive itself: 5, 187,
// 188, 197 and 198.
var errorColumns = [errorKinds]int{0, 3, 4, 7, 8}

// past is what a drive's readings up to one of them add up to, per column.
type past struct {
	changed [9]float32 // power-on hours of the last change, or of the first reading
	changes [9]uint16
	decayed [9]float32 // increases as log(1+x), each halved every driveDecay, at the time of the reading
	any     float32    // power-on hours of the last change of any, or of the first reading
}

// history is a drive with what its readings add up to.
type history struct {
	*drive
	past []past // of each reading
}

func newHistory(d *drive) history {
	h := history{drive: d, past: make([]past, len(d.readings))}
	for i := range d.readings {
		p, now := &h.past[i], &d.readings[i]
		if i == 0 {
			for c := range p.changed {
				p.changed[c] = float32(now.since)
			}
			p.any = float32(now.since)
			continue
		}
		before := &d.readings[i-1]
		*p = h.past[i-1]
		fade := float32(math.Exp2(-(now.since - before.since) / driveDecay))
		for c, v := range now.smart {
			p.decayed[c] *= fade
			change := v - before.smart[c]
			if change == 0 || change != change {
				continue
			}
			p.changed[c], p.any = float32(now.since), float32(now.since)
			p.changes[c]++
			if change > 0 {
				p.decayed[c] += float32(math.Log1p(float64(change)))
			}
		}
	}
	return h
}

// index returns the reading that held just before a time, -1 before the first.
func (d *drive) index(hours float64) int {
	return sort.Search(len(d.readings), func(i int) bool { return d.readings[i].since >= hours }) - 1
}

func historyFeatures() []string {
	var names []string
	for _, c := range smartColumns {
		names = append(names, c)
		for _, days := range historyDays {
			names = append(names, fmt.Sprintf("%s_change%d", c, days))
		}
		for _, days := range countDays {
			names = append(names, fmt.Sprintf("%s_changes%d", c, days))
		}
		names = append(names, c+"_since_change", c+"_decayed")
	}
	return append(names,
		"errors", "errors_kinds", "errors_growing7", "errors_growing30", "errors_decayed",
		"hours_since_change", "power_on_hours", "size_tb", "maker", "days_seen")
}

// features appends what the drive itself had shown by a day; false before its
// first reading.
func (h *history) features(dst []float64, day int) ([]float64, bool) {
	t := h.hours(day)
	at := h.index(t)
	if at < 0 {
		return dst, false
	}
	now, p := &h.readings[at], &h.past[at]
	var before [3]int
	for i, days := range historyDays {
		before[i] = h.index(t - float64(hoursOfDay*days))
	}
	fade := math.Exp2(-(t - now.since) / driveDecay)
	for c, v := range now.smart {
		dst = append(dst, float64(v))
		for _, b := range before {
			change := math.NaN()
			if b >= 0 {
				change = float64(v) - float64(h.readings[b].smart[c])
			}
			dst = append(dst, change)
		}
		for _, b := range before[1:] {
			n := float64(p.changes[c])
			if b >= 0 {
				n -= float64(h.past[b].changes[c])
			}
			dst = append(dst, n)
		}
		dst = append(dst, t-float64(p.changed[c]), fade*float64(p.decayed[c]))
	}
	var sum, kinds, growing7, growing30, decayed float64
	for _, c := range errorColumns {
		v := float64(now.smart[c])
		if v > 0 {
			sum += math.Log1p(min(v, 1e4))
			kinds++
		}
		decayed += fade * float64(p.decayed[c])
		if before[0] >= 0 && v > float64(h.readings[before[0]].smart[c]) {
			growing7++
		}
		if before[1] >= 0 && v > float64(h.readings[before[1]].smart[c]) {
			growing30++
		}
	}
	return append(dst, sum, kinds, growing7, growing30, decayed,
		t-float64(p.any), t, h.size, h.maker, (t-h.first)/hoursOfDay), true
}
