package features

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plainRing is what a ring stands for: full moments in every bucket.
type plainRing struct {
	width   int64
	buckets map[int64][]moments
	scrapes map[int64]float64
}

func (r *plainRing) push(now int64, values []float64) {
	id := now / r.width
	if r.buckets[id] == nil {
		r.buckets[id] = make([]moments, len(values))
	}
	r.scrapes[id]++
	for m, v := range values {
		if finite(v) {
			r.buckets[id][m].add(float64(now-id*r.width)/1000, v)
		}
	}
}

func (r *plainRing) merge(now int64, dst []moments) (scrapes float64) {
	clear(dst)
	oldest := now/r.width - bucketsPerWindow + 1
	for id := oldest; id <= now/r.width; id++ {
		for m := range r.buckets[id] {
			b := &r.buckets[id][m]
			dst[m].merge(&b.clock, &b.levels, float64((id-oldest)*r.width)/1000)
		}
		scrapes += r.scrapes[id]
	}
	return scrapes
}

// words returns the bits of all numbers.
func (a *moments) words() (w [13]uint64) {
	for i, v := range []float64{a.n, a.tmean, a.tm2, a.tfirst, a.tlast, a.mean, a.m2, a.co, a.min, a.max, a.first, a.last, a.inc} {
		w[i] = math.Float64bits(v)
	}
	return w
}

// TestRingIsPlain feeds metrics that rest, move, vanish and come back to a ring
// and to plain moments: they agree, bit for bit.
func TestRingIsPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const metrics = 4
		r := newRing(time.Duration(rapid.SampledFrom([]int{2, 10, 300}).Draw(t, "window"))*time.Second, metrics)
		plain := &plainRing{width: r.width, buckets: map[int64][]moments{}, scrapes: map[int64]float64{}}
		values, seenAt := nans(metrics), make([]int64, metrics)
		got, want := make([]moments, metrics), make([]moments, metrics)
		now := rapid.Int64Range(1<<30, 1<<41).Draw(t, "start")
		odd := rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), 0, math.Copysign(0, -1), 1e300, -3})
		for range rapid.IntRange(1, 150).Draw(t, "scrapes") {
			now += rapid.Int64Range(1, 2*r.width).Draw(t, "later")
			for m := range values {
				switch rapid.IntRange(0, 9).Draw(t, "what") {
				case 0, 1:
					values[m] = rapid.Float64Range(0, 100).Draw(t, "value")
				case 2:
					values[m] = odd.Draw(t, "odd")
				}
			}
			r.push(now, values, seenAt)
			plain.push(now, values)
			if n, k := r.merge(now, got), plain.merge(now, want); n != k {
				t.Fatalf("%v scrapes, want %v", n, k)
			}
			for m := range got {
				if got[m].words() != want[m].words() {
					t.Fatalf("metric %d: %+v, want %+v", m, got[m], want[m])
				}
			}
		}
		if lent := r.varied.lent + r.patchy.lent; lent > 2*bucketsPerWindow*metrics {
			t.Errorf("%d buckets of %d are held apart", lent, bucketsPerWindow*metrics)
		}
	})
}
