package main

import (
	"fmt"
	"math"

	"github.com/stratoswarm/forestall/features"
)

// driveFleet knows, week by week, how many drives of a kind were running and how
// many had failed: what an operator knows of drives like one by then.
type driveFleet struct {
	drives []history
	first  int // week, since 1970
	weeks  int
	kinds  [5]map[kindOf]*tally
	moved  map[kindOf]*[9][]float32 // of each cohort: drives whose value changed within 30 days, each week
}

// kindOf names drives that are alike; the parts that do not matter are zero.
type kindOf struct {
	model, prefix string
	cohort, age   int
}

// The kinds of drives, from the widest on.
const (
	everyDrive = iota
	sameModel
	sameAge    // and model: quarters of power-on time
	samePrefix // and model: the first four characters of the serial number, a production line and time
	sameCohort // and model: first seen on the same day, mostly one rack
)

// tally counts the drives of a kind: sums over all weeks up to each.
type tally struct{ running, failed []float32 }

// kind returns what the drive is called among drives alike when its clock says
// hours.
func (d *drive) kind(which int, hours float64) kindOf {
	switch which {
	case sameModel:
		return kindOf{model: d.model}
	case sameAge:
		return kindOf{model: d.model, age: 1 + int(hours/(hoursOfDay*91))}
	case samePrefix:
		return kindOf{model: d.model, prefix: d.serial[:min(4, len(d.serial))]}
	case sameCohort:
		return kindOf{model: d.model, cohort: d.seenFrom}
	}
	return kindOf{}
}

func newDriveFleet(drives []drive) *driveFleet {
	f := &driveFleet{moved: map[kindOf]*[9][]float32{}, drives: make([]history, len(drives))}
	first, last := math.MaxInt, driveEnd
	for i := range drives {
		f.drives[i] = newHistory(&drives[i])
		first = min(first, drives[i].seenFrom)
	}
	f.first = first / driveWeek
	f.weeks = last/driveWeek - f.first + 1
	for k := range f.kinds {
		f.kinds[k] = map[kindOf]*tally{}
	}
	for i := range f.drives {
		f.count(&f.drives[i])
	}
	for _, kinds := range f.kinds {
		for _, t := range kinds {
			for w := 1; w < f.weeks; w++ {
				t.running[w] += t.running[w-1]
				t.failed[w] += t.failed[w-1]
			}
		}
	}
	return f
}

// count adds a drive to the tallies of its kinds.
func (f *driveFleet) count(h *history) {
	for w := range f.weeks {
		day := (f.first + w) * driveWeek
		if day < h.seenFrom {
			continue
		}
		hours := h.hours(day)
		runs := h.last > hours
		if !runs && (!h.failed || h.last <= hours-hoursOfDay*driveWeek) {
			break // it left, or its failure was counted in a week before
		}
		for k := range f.kinds {
			kind := h.kind(k, min(hours, h.last))
			t := f.kinds[k][kind]
			if t == nil {
				t = &tally{make([]float32, f.weeks), make([]float32, f.weeks)}
				f.kinds[k][kind] = t
			}
			if runs {
				t.running[w]++
			} else {
				t.failed[w]++
			}
		}
		if !runs {
			break
		}
		f.countMoved(h, w, hours)
	}
}

func (f *driveFleet) countMoved(h *history, w int, hours float64) {
	at := h.index(hours)
	if at < 0 {
		return
	}
	kind := h.kind(sameCohort, 0)
	m := f.moved[kind]
	if m == nil {
		m = new([9][]float32)
		for c := range m {
			m[c] = make([]float32, f.weeks)
		}
		f.moved[kind] = m
	}
	for c, changed := range h.past[at].changed {
		if h.past[at].changes[c] > 0 && hours-float64(changed) <= 30*hoursOfDay {
			m[c][w]++
		}
	}
}

// over returns the drive-weeks and the failures of the last n weeks up to w; all
// for n = 0.
func (t *tally) over(w, n int) (running, failed float64) {
	if t == nil {
		return 0, 0
	}
	running, failed = float64(t.running[w]), float64(t.failed[w])
	if b := w - n; n > 0 && b >= 0 {
		running, failed = running-float64(t.running[b]), failed-float64(t.failed[b])
	}
	return running, failed
}

// rateStrength is how many drive-weeks a wider kind's rate counts for in a
// narrower one's.
const rateStrength = 2000

// rate returns a kind's failures per drive-week, drawn towards a wider kind's as
// its own weeks are few.
func (t *tally) rate(w, n int, wider float64) float64 {
	running, failed := t.over(w, n)
	return features.ShrunkRate(failed, running, wider, rateStrength)
}

var fleetWeeks = []int{0, 26, 8}

func fleetFeatures() []string {
	names := historyFeatures()
	for _, n := range fleetWeeks {
		names = append(names, fmt.Sprintf("model_rate%d", n))
	}
	names = append(names, "age_rate", "age_rate52", "prefix_rate", "prefix_rate26", "cohort_rate52", "cohort_rate8", "cohort_size")
	for _, c := range smartColumns {
		names = append(names, c+"_cohort_moved")
	}
	return names
}

// features appends what was known on a day of a drive and of those like it.
func (f *driveFleet) features(dst []float64, h *history, day int) ([]float64, bool) {
	dst, ok := h.features(dst, day)
	if !ok {
		return dst, false
	}
	w, hours := day/driveWeek-f.first, h.hours(day)
	of := func(k int) *tally { return f.kinds[k][h.kind(k, hours)] }
	all := of(everyDrive).rate(w, 0, 0)
	model := of(sameModel)
	rate := model.rate(w, 0, all)
	for _, n := range fleetWeeks {
		dst = append(dst, model.rate(w, n, all))
	}
	age, prefix, cohort := of(sameAge), of(samePrefix), of(sameCohort)
	dst = append(dst, age.rate(w, 0, rate), age.rate(w, 52, rate), prefix.rate(w, 0, rate), prefix.rate(w, 26, rate),
		cohort.rate(w, 52, rate), cohort.rate(w, 8, rate))
	size, _ := cohort.over(w, 1)
	dst = append(dst, size)
	m := f.moved[h.kind(sameCohort, 0)]
	for c := range smartColumns {
		share := math.NaN()
		if size > 1 {
			own := 0.0
			if at := h.index(hours); h.past[at].changes[c] > 0 && hours-float64(h.past[at].changed[c]) <= 30*hoursOfDay {
				own = 1
			}
			share = (float64(m[c][w]) - own) / (size - 1)
		}
		dst = append(dst, share)
	}
	return dst, true
}
