package features

import "math"

// moments summarises the reported readings of one metric within one bucket,
// and, merged, within one window. Times are seconds from an origin that the
// caller chooses; readings are added in the order of time.
//
// Means and second moments are kept centred (Welford 1962; merged as in Chan,
// Golub and LeVeque 1979, eq. 2.1), so that a constant series has a standard
// deviation of exactly 0, whatever its size.
type moments struct {
	n           float64 // readings
	mean, m2    float64 // of the values; m2 = sum of (v-mean)^2
	tmean, tm2  float64 // of their times
	co          float64 // sum of (t-tmean)(v-mean)
	min, max    float64
	first, last float64 // values
	tfirst      float64
	tlast       float64
	inc         float64 // sum of increases between neighbours, resets counted from zero
}

func (a *moments) add(t, v float64) {
	if a.n == 0 {
		*a = moments{n: 1, mean: v, tmean: t, min: v, max: v, first: v, last: v, tfirst: t, tlast: t}
		return
	}
	a.n++
	d, dt := v-a.mean, t-a.tmean
	a.mean += d / a.n
	a.tmean += dt / a.n
	a.m2 += d * (v - a.mean)
	a.tm2 += dt * (t - a.tmean)
	a.co += dt * (v - a.mean)
	a.min = min(a.min, v)
	a.max = max(a.max, v)
	a.inc += increase(a.last, v)
	a.last, a.tlast = v, t
}

// merge appends the readings of b, whose origin lies shift seconds after a's.
func (a *moments) merge(b *moments, shift float64) {
	if b.n == 0 {
		return
	}
	if a.n == 0 {
		*a = *b
		a.tmean += shift
		a.tfirst += shift
		a.tlast += shift
		return
	}
	n := a.n + b.n
	d, dt := b.mean-a.mean, b.tmean+shift-a.tmean
	f := a.n * b.n / n
	a.m2 += b.m2 + d*d*f
	a.tm2 += b.tm2 + dt*dt*f
	a.co += b.co + d*dt*f
	a.mean += d * b.n / n
	a.tmean += dt * b.n / n
	a.n = n
	a.min = min(a.min, b.min)
	a.max = max(a.max, b.max)
	a.inc += b.inc + increase(a.last, b.first)
	a.last, a.tlast = b.last, b.tlast+shift
}

// std is the population standard deviation.
func (a *moments) std() float64 {
	if a.n == 0 {
		return math.NaN()
	}
	return math.Sqrt(a.m2 / a.n)
}

// slope is the least-squares slope of value over time, per second.
func (a *moments) slope() float64 {
	if a.n < 2 {
		return math.NaN()
	}
	return a.co / a.tm2
}

func (a *moments) delta() float64 {
	if a.n < 2 {
		return math.NaN()
	}
	return a.last - a.first
}

func (a *moments) rate() float64 {
	if a.n < 2 {
		return math.NaN()
	}
	return a.inc / (a.tlast - a.tfirst)
}

// increase is how much a counter grew between two readings. A smaller second
// reading means that it restarted from zero in between.
func increase(from, to float64) float64 {
	if to < from {
		return to
	}
	return to - from
}
