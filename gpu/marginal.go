package gpu

import (
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// How readings come about. Each calibrated metric m of a device has a score
//
//	z = loadShare*L + biasShare*b + ownShare*w,   loadShare² + biasShare² + ownShare² = 1
//
// and reads Q_m(Φ(z)), Q_m being the metric's production quantile function: a
// Gaussian copula. L is the score of the load, Φ⁻¹(load), which the metric
// follows with its lag; b is the device's own place in the rack, drawn once; w
// is an Ornstein-Uhlenbeck process of unit variance with the metric's time
// constant. So under a load spread evenly over 0..1 the readings have the
// production marginals, an idle device reads their lower end, a busy one
// their upper end, and metrics move together because the load moves them.
const (
	biasShare = 0.30
	ownShare  = 0.15
	minLoad   = 0.02 // keeps Φ⁻¹ of an idle device finite
	maxLoad   = 1 - minLoad
)

var loadShare = math.Sqrt(1 - biasShare*biasShare - ownShare*ownShare)

// marginal is one calibrated metric's dynamics.
type marginal struct {
	metric int
	lag    time.Duration // of its answer to a change of load, first order
	wander time.Duration // time constant of its own process
}

var marginals = [...]marginal{
	{temperature, 40 * time.Second, 90 * time.Second},
	{memoryTemperature, 50 * time.Second, 90 * time.Second},
	{power, 2 * time.Second, 5 * time.Second},
	{utilization, time.Second, 10 * time.Second},
	{memoryUsed, 5 * time.Second, 10 * time.Minute},
}

// value returns the row's value of a calibrated metric, in its unit; memory
// as a share of the total.
func (q *quantile) value(metric int) float64 {
	switch metric {
	case temperature:
		return q.temperature
	case memoryTemperature:
		return q.memoryTemperature
	case power:
		return q.power
	case utilization:
		return q.utilization
	case memoryUsed:
		return q.memory
	}
	return math.NaN()
}

// quantileAt returns the production quantile of a calibrated metric at the
// probability p, linear between the table's rows.
func quantileAt(metric int, p float64) float64 {
	n := len(quantiles)
	i := sort.Search(n, func(i int) bool { return quantiles[i].p >= p })
	switch i {
	case 0:
		return quantiles[0].value(metric)
	case n:
		return quantiles[n-1].value(metric)
	}
	a, b := &quantiles[i-1], &quantiles[i]
	share := (p - a.p) / (b.p - a.p)
	return a.value(metric) + share*(b.value(metric)-a.value(metric))
}

// normalCDF is Φ.
func normalCDF(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// normalQuantile is Φ⁻¹.
func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }

// scores is the state of a device's calibrated metrics.
type scores struct {
	started bool
	bias    [len(marginals)]float64
	load    [len(marginals)]float64 // L as each metric follows it
	own     [len(marginals)]float64 // w
}

func newScores(rng *rand.Rand) scores {
	var s scores
	for i := range marginals {
		s.bias[i] = rng.NormFloat64()
	}
	return s
}

// step lets dt pass under a load in 0..1 and writes the calibrated metrics
// into r. It draws the same number of variates whatever the load.
func (s *scores) step(rng *rand.Rand, dt time.Duration, load float64, r *reading, memoryBytes int64) {
	target := normalQuantile(min(max(load, minLoad), maxLoad))
	for i, m := range marginals {
		follow, keep := decay(dt, m.lag), decay(dt, m.wander)
		if !s.started {
			follow, keep = 0, 0
		}
		s.load[i] = target + follow*(s.load[i]-target)
		s.own[i] = keep*s.own[i] + math.Sqrt(1-keep*keep)*rng.NormFloat64()
		z := loadShare*s.load[i] + biasShare*s.bias[i] + ownShare*s.own[i]
		r[m.metric] = quantileAt(m.metric, normalCDF(z))
	}
	s.started = true
	r[memoryUsed] *= float64(memoryBytes)
}

// decay returns exp(-dt/tau).
func decay(dt, tau time.Duration) float64 { return math.Exp(-dt.Seconds() / tau.Seconds()) }

// poisson returns the u-quantile of a Poisson variable: the number of events
// where mean are expected. It never falls when u or mean rises, so that a
// device with a fault counts no less than its healthy twin.
func poisson(u, mean float64) float64 {
	if mean > 30 {
		return math.Max(0, math.Round(mean+math.Sqrt(mean)*normalQuantile(u)))
	}
	p := math.Exp(-mean)
	k, sum := 0.0, p
	for u > sum && k < 200 {
		k++
		p *= mean / k
		sum += p
	}
	return k
}
