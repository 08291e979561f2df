package features

import "math"

// Vector writes the newest features in the order of [Schema.Names] into dst,
// reallocating it only when its capacity is too small, and returns it. Every
// value is finite or NaN; before the first push all are NaN.
//
// With (t_i, v_i) the reported readings of a metric within a window, in
// seconds, n of them in s scrapes:
//
//	last                  the newest scrape's value, NaN when it is missing there
//	since_change_seconds  newest scrape minus the first reading of the present value; NaN when missing now
//	mean                  (1/n) sum v_i
//	std                   sqrt((1/n) sum (v_i-mean)^2)
//	min, max
//	slope                 sum (t_i-tmean)(v_i-mean) / sum (t_i-tmean)^2, per second: least squares
//	ewma                  y += (1-exp(-2 dt/window)) (v_i-y), dt since the reading before; y restarts at v_i
//	                      after a silence longer than the window
//	delta                 v_n - v_1 (gauges)
//	rate                  sum over neighbours of v_i - v_(i-1), or of v_i where that is negative (the
//	                      counter restarted), divided by t_n - t_1 (counters), per second
//	missing_ratio         (s-n)/s
//
// mean, std, min, max and ewma are NaN for n = 0; slope, delta and rate for
// n < 2. scrape_gap_seconds_last is the time between the newest two scrapes,
// series_reported_ratio_last the share of metrics in the newest scrape, and
// series_vanished_WINDOW how many metrics were reported within the window but
// not in the newest scrape.
func (w *Window) Vector(dst []float64) []float64 {
	if n := len(w.schema.names); cap(dst) < n {
		dst = make([]float64, n)
	} else {
		dst = dst[:n]
	}
	for i := range dst {
		dst[i] = math.NaN()
	}
	if w.pushes == 0 {
		return dst
	}
	block := statsPerMetric + statsPerWindow*len(w.rings)
	own := dst[block*len(w.current):]
	w.latest(dst, block, own)
	scratch := w.schema.merging()
	defer w.schema.scratch.Put(scratch)
	merged := *scratch
	for i := range w.rings {
		scrapes := w.rings[i].merge(w.last, merged)
		vanished := 0
		for m := range merged {
			if merged[m].n > 0 && math.IsNaN(w.current[m]) {
				vanished++
			}
			at := m*block + statsPerMetric + i*statsPerWindow
			w.stats(dst[at:at+statsPerWindow], i, m, &merged[m], scrapes)
		}
		own[statsPerComponent+i] = float64(vanished)
	}
	for i, v := range dst {
		if math.IsInf(v, 0) { // an overflow is not a number either
			dst[i] = math.NaN()
		}
	}
	return dst
}

// latest fills the features that have no window.
func (w *Window) latest(dst []float64, block int, own []float64) {
	reported := 0
	for m, v := range w.current {
		if math.IsNaN(v) {
			continue
		}
		reported++
		dst[m*block+atLast] = v
		dst[m*block+atSinceChange] = float64(w.last-w.changed[m]) / 1000
	}
	own[atLatency] = w.latency
	if w.pushes > 1 {
		own[atGap] = float64(w.last-w.previous) / 1000
	}
	own[atReported] = float64(reported) / float64(len(w.current))
}

// stats fills the block of metric m and window i from its moments.
func (w *Window) stats(dst []float64, i, m int, a *moments, scrapes float64) {
	dst[atMissing] = (scrapes - a.n) / scrapes
	if a.n == 0 {
		return
	}
	dst[atMean], dst[atStd] = a.mean, a.std()
	dst[atMin], dst[atMax] = a.min, a.max
	dst[atSlope] = a.slope()
	dst[atEWMA] = w.rings[i].ewma[m]
	if w.schema.metrics[m].Type == Counter {
		dst[atChange] = a.rate()
	} else {
		dst[atChange] = a.delta()
	}
}
