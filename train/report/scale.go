package report

import (
	"fmt"
	"math"
	"strconv"
)

// scale places values between 0 and 1 along an axis. Values outside are moved
// to its ends.
type scale struct {
	low, high float64
	bend      func(float64) float64 // nil: linear
	ticks     []tick
}

type tick struct {
	at   float64
	text string
}

func (s scale) place(v float64) float64 {
	v = min(max(v, s.low), s.high)
	if s.bend == nil {
		return (v - s.low) / (s.high - s.low)
	}
	low := s.bend(s.low)
	return (s.bend(v) - low) / (s.bend(s.high) - low)
}

// linear is an even scale from low to at least high with about five ticks at
// round values.
func linear(low, high float64) scale {
	if !(high > low) {
		high = low + 1
	}
	raw := (high - low) / 5
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := unit
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * unit; step >= raw*0.999 {
			break
		}
	}
	first, last := math.Floor(low/step), math.Ceil(high/step-1e-9)
	s := scale{low: first * step, high: last * step}
	for k := first; k <= last; k++ {
		s.ticks = append(s.ticks, tick{k * step, strconv.FormatFloat(math.Round(k*step/unit)*unit, 'g', 6, 64)})
	}
	return s
}

// shares is the linear scale from 0 to 1 in percent.
func shares() scale {
	s := scale{high: 1}
	for k := range 6 {
		s.ticks = append(s.ticks, tick{float64(k) / 5, fmt.Sprintf("%d %%", 20*k)})
	}
	return s
}

// logarithmic covers low to high in whole decades.
func logarithmic(low, high float64) scale {
	first, last := math.Floor(math.Log10(low)+1e-9), math.Ceil(math.Log10(high)-1e-9)
	if last <= first {
		last = first + 1
	}
	s := scale{low: math.Pow(10, first), high: math.Pow(10, last), bend: math.Log10}
	every := math.Ceil((last - first) / 7)
	for k := first; k <= last; k += every {
		s.ticks = append(s.ticks, tick{math.Pow(10, k), strconv.FormatFloat(math.Pow(10, k), 'g', 3, 64)})
	}
	return s
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }

// odds is a scale for probabilities that gives rare ones room: even in
// log-odds.
func odds(low, high float64) scale {
	low, high = min(max(low, 1e-7), 0.4), max(min(high, 1-1e-7), 0.6)
	s := scale{low: low, high: high, bend: logit}
	for k := -7; k <= -1; k++ {
		s.tick(math.Pow(10, float64(k)))
	}
	s.tick(0.5)
	for k := -1; k >= -4; k-- {
		s.tick(1 - math.Pow(10, float64(k)))
	}
	return s
}

func (s *scale) tick(p float64) {
	if p >= s.low*0.999 && p <= s.high+(1-s.high)*0.001 {
		s.ticks = append(s.ticks, tick{p, strconv.FormatFloat(100*p, 'g', 6, 64) + " %"})
	}
}
