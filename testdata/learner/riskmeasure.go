package main

import (
	"math"
	"slices"
	"strconv"

	"github.com/stratoswarm/forestall/train"
)

// caughtAt returns the share of failing components that are caught when one in a
// hundred of the healthy ones is alarmed in the span, each component by its
// highest score. In time: only an alarm within the horizon before the failure
// counts; ever: any alarm of the span.
func caughtAt(score []float64, label []bool, component []int, healthyShare float64) (inTime, ever float64) {
	type peak struct {
		all, ahead float64
		fails      bool
	}
	peaks := map[int]*peak{}
	for i, s := range score {
		p := peaks[component[i]]
		if p == nil {
			p = &peak{math.Inf(-1), math.Inf(-1), false}
			peaks[component[i]] = p
		}
		p.all = max(p.all, s)
		if label[i] {
			p.fails, p.ahead = true, max(p.ahead, s)
		}
	}
	var healthy []float64
	for _, p := range peaks {
		if !p.fails {
			healthy = append(healthy, p.all)
		}
	}
	if len(healthy) == 0 || len(healthy) == len(peaks) {
		return math.NaN(), math.NaN()
	}
	slices.Sort(healthy)
	threshold := healthy[len(healthy)-1-int(healthyShare*float64(len(healthy)))]
	failing := 0.0
	for _, p := range peaks {
		if !p.fails {
			continue
		}
		failing++
		if p.ahead > threshold {
			inTime++
		}
		if p.all > threshold {
			ever++
		}
	}
	return inTime / failing, ever / failing
}

// top returns the failures that came and those that were expected among the
// rows of the highest probabilities.
func top(s *riskScores) (observed, expected float64) {
	r := train.Recalibrate(train.Peaks(s.probability, s.label, s.time), math.Inf(-1), math.Inf(1))
	return r.Observed, r.Expected
}

// trust is how far probabilities can be taken at their word.
type trust struct {
	observed, expected float64 // failures among the top 1 % of each span
	baseRate, ece      float64
	skill              train.Estimate
}

func newTrust(tested []*riskScores) (t trust, err error) {
	var all train.Scores
	number := map[int]int32{}
	for _, s := range tested {
		o, e := top(s)
		t.observed, t.expected = t.observed+o, t.expected+e
		all.Probability = append(all.Probability, s.probability...)
		all.Positive = append(all.Positive, s.label...)
		for _, c := range s.component {
			n, ok := number[c]
			if !ok {
				n = int32(len(number))
				number[c] = n
				all.Groups = append(all.Groups, strconv.Itoa(c))
			}
			all.Group = append(all.Group, n)
		}
	}
	e, err := train.Evaluate(&all, train.EvaluateOptions{Bootstrap: 200, Seed: 1})
	if err != nil {
		return t, err
	}
	t.baseRate = float64(e.Positives) / float64(e.Rows)
	t.ece, t.skill = e.ECE.Value, e.BrierSkill
	return t, nil
}
