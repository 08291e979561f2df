package features

import (
	"math"
	"slices"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/gpu"
)

// Siblings sets the GPUs of a node beside each other. GPUs of one node share
// their air and mostly their job, so that what one of them does alone says more
// than what all do. It also remembers how warm each GPU has been at which power.
// It is not safe for concurrent use.
type Siblings struct {
	read   []readGPU
	others []float64
	slopes []float64
	fits   map[forestall.Component]*thermalFit
}

// readGPU is what is compared of one GPU; NaN: not reported.
type readGPU struct {
	compared [numCompared]float64
	slowdown float64
}

// The quantities that are compared, beside their metrics.
const (
	siblingTemperature = iota
	siblingMemory
	siblingPower
	siblingUtilization
	siblingClock
	siblingReported
	numCompared
)

var overSiblings = [numCompared]string{
	MetricOverSiblings, MetricMemoryOverSiblings, MetricPowerOverSiblings,
	MetricUtilizationOverSibling, MetricClockOverSiblings, MetricReportedOverSiblings,
}

// Append appends to each group, the samples of one GPU in one scrape, what sets
// it beside the other GPUs of its node in that scrape, and beside itself in
// earlier ones: the metrics of [Context] that compare. Groups of a node stand together; empty ones and those of
// other kinds are passed over. What cannot be compared, because the GPU or all others do not
// report it, is NaN.
func (s *Siblings) Append(groups [][]forestall.Sample) {
	for begin := 0; begin < len(groups); {
		end := begin + 1
		node := nodeOf(groups[begin])
		for end < len(groups) && (len(groups[end]) == 0 || nodeOf(groups[end]) == node) {
			end++
		}
		if node != "" {
			s.node(groups[begin:end])
		}
		begin = end
	}
}

// Forget drops what is remembered of a GPU.
func (s *Siblings) Forget(c forestall.Component) { delete(s.fits, c) }

// nodeOf returns the node of a GPU's samples, "" for other samples and none.
func nodeOf(group []forestall.Sample) string {
	if len(group) == 0 || group[0].Component.Kind != forestall.KindGPU {
		return ""
	}
	return group[0].Component.NodeName()
}

func (s *Siblings) node(groups [][]forestall.Sample) {
	s.read = s.read[:0]
	for _, group := range groups {
		s.read = append(s.read, readSamples(group))
	}
	for i, group := range groups {
		if len(group) == 0 {
			continue
		}
		own := &s.read[i]
		add := func(metric string, v float64) {
			group = append(group, forestall.Sample{Component: group[0].Component, Metric: metric, Time: group[0].Time, Value: reported(v)})
		}
		group = slices.Grow(group, len(siblingMetrics))
		add(MetricTemperatureHeadroom, own.slowdown-own.compared[siblingTemperature])
		add(MetricOverExpected, s.fit(group[0].Component).over(group[0].Time, own.compared[siblingTemperature], own.compared[siblingPower]))
		for q, metric := range overSiblings {
			s.others = s.others[:0]
			for j := range s.read {
				if v := s.read[j].compared[q]; j != i && !math.IsNaN(v) {
					s.others = append(s.others, v)
				}
			}
			add(metric, own.compared[q]-median(s.others))
		}
		add(MetricOverSiblingsAtPower, own.compared[siblingTemperature]-s.temperatureAt(own.compared[siblingPower], i))
		groups[i] = group
	}
}

func (s *Siblings) fit(c forestall.Component) *thermalFit {
	f := s.fits[c]
	if f == nil {
		if s.fits == nil {
			s.fits = map[forestall.Component]*thermalFit{}
		}
		f = &thermalFit{}
		s.fits[c] = f
	}
	return f
}

func readSamples(group []forestall.Sample) readGPU {
	r := readGPU{slowdown: math.NaN()}
	for q := range r.compared {
		r.compared[q] = math.NaN()
	}
	n := 0.0
	for i := range group {
		v := group[i].Value
		if math.IsNaN(v) {
			continue
		}
		n++
		switch group[i].Metric {
		case gpu.MetricTemperature:
			r.compared[siblingTemperature] = v
		case gpu.MetricMemoryTemperature:
			r.compared[siblingMemory] = v
		case gpu.MetricPower:
			r.compared[siblingPower] = v
		case gpu.MetricUtilization:
			r.compared[siblingUtilization] = v
		case gpu.MetricSMClock:
			r.compared[siblingClock] = v
		case "gpu_temperature_slowdown_celsius":
			r.slowdown = v
		}
	}
	if len(group) > 0 {
		r.compared[siblingReported] = n / float64(len(group))
	}
	return r
}

// maxLine bounds the siblings that a line is drawn through: pairs grow with
// their square.
const maxLine = 16

// temperatureAt returns the temperature that the siblings of GPU i have at a
// power, within the range of theirs: on the line with the median slope of all
// pairs, not below 0, and the median offset (Theil 1950, Sen 1968), which a
// single hot sibling does not move. NaN when fewer than three report both.
func (s *Siblings) temperatureAt(power float64, i int) float64 {
	s.slopes = s.slopes[:0]
	low, high, n := math.Inf(1), math.Inf(-1), 0
	usable := func(j int) bool {
		a := &s.read[j].compared
		return j != i && !math.IsNaN(a[siblingTemperature]) && !math.IsNaN(a[siblingPower])
	}
	for j := range s.read[:min(len(s.read), maxLine)] {
		if !usable(j) {
			continue
		}
		n++
		a := &s.read[j].compared
		low, high = min(low, a[siblingPower]), max(high, a[siblingPower])
		for k := range j {
			if b := &s.read[k].compared; usable(k) && a[siblingPower] != b[siblingPower] {
				s.slopes = append(s.slopes, (a[siblingTemperature]-b[siblingTemperature])/(a[siblingPower]-b[siblingPower]))
			}
		}
	}
	if n < 3 || math.IsNaN(power) {
		return math.NaN()
	}
	slope := 0.0
	if len(s.slopes) > 0 { // else all draw the same power
		slope = max(median(s.slopes), 0)
	}
	s.others = s.others[:0]
	for j := range s.read[:min(len(s.read), maxLine)] {
		if usable(j) {
			s.others = append(s.others, s.read[j].compared[siblingTemperature]-slope*s.read[j].compared[siblingPower])
		}
	}
	return median(s.others) + slope*min(max(power, low), high)
}

// median sorts v, whose values are not NaN, and returns its median; NaN of none.
func median(v []float64) float64 {
	n := len(v)
	if n == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
