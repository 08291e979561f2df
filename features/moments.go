package features

import "math"

// Moments summarise the reported readings of one metric within one bucket, and,
// merged, within one window. Times are seconds from an origin that the caller
// chooses; readings are added in the order of time. Three forms hold the same
// numbers, bit for bit:
//
//   - a clock and a value, for a metric that kept its value in every scrape;
//   - a clock and levels, for one that was reported in every scrape: the clock
//     is shared by all metrics of the bucket;
//   - moments, for one that some of the scrapes lacked.
//
// Means and second moments are kept centred (Welford 1962; merged as in Chan,
// Golub and LeVeque 1979, eq. 2.1), so that a constant series has a standard
// deviation of exactly 0, whatever its size.
type moments struct {
	clock
	levels
}

// clock holds the moments of the times of readings.
type clock struct {
	n      float64 // readings
	tmean  float64
	tm2    float64 // sum of (t-tmean)^2
	tfirst float64
	tlast  float64
}

// levels holds the moments of values that were read at the times of a clock.
type levels struct {
	mean, m2    float64 // m2 = sum of (v-mean)^2
	co          float64 // sum of (t-tmean)(v-mean)
	min, max    float64
	first, last float64
	inc         float64 // sum of increases between neighbours, resets counted from zero
}

// constant returns the levels of readings that were all v.
func constant(v float64) levels { return levels{mean: v, min: v, max: v, first: v, last: v} }

func (c *clock) add(t float64) {
	if c.n == 0 {
		*c = clock{n: 1, tmean: t, tfirst: t, tlast: t}
		return
	}
	c.n++
	d := t - c.tmean
	c.tmean += d / c.n
	c.tm2 += d * (t - c.tmean)
	c.tlast = t
}

// add takes the reading of v at t; c is the clock before that time.
func (a *levels) add(c *clock, t, v float64) {
	if c.n == 0 {
		*a = constant(v)
		return
	}
	d := v - a.mean
	a.mean += d / (c.n + 1)
	a.m2 += d * (v - a.mean)
	a.co += (t - c.tmean) * (v - a.mean)
	a.min = min(a.min, v)
	a.max = max(a.max, v)
	a.inc += increase(a.last, v)
	a.last = v
}

func (a *moments) add(t, v float64) {
	a.levels.add(&a.clock, t, v)
	a.clock.add(t)
}

// merge appends the readings of a bucket, whose origin lies shift seconds after
// a's.
func (a *moments) merge(c *clock, b *levels, shift float64) {
	if c.n == 0 {
		return
	}
	before := a.clock
	a.clock.merge(c, shift)
	j := joinClocks(&before, c, shift)
	a.levels.merge(b, &j)
}

// merge appends the times of a bucket, whose origin lies shift seconds after c's.
func (c *clock) merge(later *clock, shift float64) {
	if c.n == 0 {
		*c = *later
		c.tmean += shift
		c.tfirst += shift
		c.tlast += shift
		return
	}
	j := joinClocks(c, later, shift)
	c.tm2 += later.tm2 + j.dt*j.dt*j.f
	c.tmean += j.dt * later.n / j.n
	c.n = j.n
	c.tlast = later.tlast + shift
}

// joint is what the levels of two clocks are merged by.
type joint struct {
	first bool    // there is nothing before
	b, n  float64 // readings of the later clock and of both
	dt, f float64 // between the means; weight of a squared distance
}

func joinClocks(a, c *clock, shift float64) joint {
	n := a.n + c.n
	return joint{first: a.n == 0, b: c.n, n: n, dt: c.tmean + shift - a.tmean, f: a.n * c.n / n}
}

// merge appends later levels.
func (a *levels) merge(b *levels, j *joint) {
	if j.first {
		*a = *b
		return
	}
	d := b.mean - a.mean
	a.m2 += b.m2 + d*d*j.f
	a.co += b.co + d*j.dt*j.f
	a.mean += d * j.b / j.n
	a.min = min(a.min, b.min)
	a.max = max(a.max, b.max)
	a.inc += b.inc + increase(a.last, b.first)
	a.last = b.last
}

// mergeConstant appends constant(v).
func (a *levels) mergeConstant(v float64, j *joint) {
	if j.first {
		*a = constant(v)
		return
	}
	d := v - a.mean
	a.m2 += d * d * j.f
	a.co += d * j.dt * j.f
	a.mean += d * j.b / j.n
	a.min = min(a.min, v)
	a.max = max(a.max, v)
	a.inc += increase(a.last, v)
	a.last = v
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
