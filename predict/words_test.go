package predict

import (
	"math"
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
)

func TestPhrases(t *testing.T) {
	const s10 = 10 * time.Second
	for _, c := range []struct {
		metric, stat string
		window       time.Duration
		value        float64
		want         string
	}{
		{"gpu_temperature_celsius", features.StatLast, 0, 91, "91 °C"},
		{"gpu_temperature_celsius", features.StatLast, 0, math.NaN(), "not reported"},
		{"gpu_temperature_celsius", features.StatSlope, time.Minute, 0.07, "rising 4.2 °C/min over 1m"},
		{"gpu_temperature_celsius", features.StatSlope, time.Minute, -0.07, "falling 4.2 °C/min over 1m"},
		{"gpu_temperature_celsius", features.StatDelta, time.Minute, -5, "down 5 °C over 1m"},
		{"gpu_temperature_celsius", features.StatDelta, time.Minute, 0, "unchanged over 1m"},
		{"gpu_temperature_celsius", features.StatMean, s10, 88.25, "88.2 °C on average over 10s"},
		{"gpu_temperature_celsius", features.StatMissingRatio, s10, 0.4, "40 % of readings missing over 10s"},
		{"gpu_temperature_celsius", features.StatSinceChange, 0, 30, "unchanged for 30 s"},
		{"gpu_temperature_celsius", features.StatSinceChange, 0, 119, "unchanged for 119 s"},
		{"gpu_temperature_celsius", features.StatSinceChange, 0, 11000, "unchanged for 3 h"},
		{"gpu_temperature_celsius", features.StatSinceChange, 0, 200000, "unchanged for 2 d"},
		{"gpu_temperature_celsius", features.StatMax, s10, 93, "up to 93 °C over 10s"},
		{"gpu_sm_clock_hertz", features.StatLast, 0, 345e6, "345 MHz"},
		{"gpu_memory_used_bytes", features.StatLast, 0, 1.5 * gib, "1.5 GiB"},
		{"gpu_utilization_ratio", features.StatLast, 0, 0.87, "87 %"},
		{"gpu_throttle_thermal", features.StatLast, 0, 1, "on"},
		{"gpu_throttle_thermal", features.StatMean, s10, 0.5, "50 % of the time over 10s"},
		{"gpu_ecc_sbe_total", features.StatRate, s10, 3.2, "3.2/s over 10s"},
		{"gpu_ecc_sbe_total", features.StatRate, time.Minute, 1.0 / 60, "1/min over 1m"},
		{"gpu_ecc_sbe_total", features.StatRate, s10, 0, "none over 10s"},
		{"node_disk_io_latency_seconds", features.StatMean, s10, 0.75, "750 ms on average over 10s"},
		{"series", features.StatVanished, s10, 5, "5 metrics vanished within 10s"},
		{"series", features.StatVanished, s10, 1, "1 metric vanished within 10s"},
		{"series", features.StatLast, 0, 0.5, "50 % of metrics reported"},
		{"scrape", features.StatLast, 0, 1.25, "took 1.25s"},
		{"a_thing_of_tomorrow_total", features.StatRate, s10, 2, "2/s over 10s"},
	} {
		if got := phrase(features.Feature{Metric: c.metric, Stat: c.stat, Window: c.window}, c.value); got != c.want {
			t.Errorf("%s %s %v: %q, want %q", c.metric, c.stat, c.value, got, c.want)
		}
	}
}

// TestEveryMetricHasWords: a new metric gets its words with it.
func TestEveryMetricHasWords(t *testing.T) {
	for _, kind := range []forestall.Kind{forestall.KindGPU, forestall.KindNode, forestall.KindAgent, forestall.KindService} {
		for _, m := range features.Metrics(kind) {
			w, ok := metricWords[m.Name]
			if !ok {
				t.Errorf("%s has no words", m.Name)
			}
			if (w.kind == events) != (m.Type == features.Counter) {
				t.Errorf("%s: words and type disagree on whether it counts", m.Name)
			}
		}
	}
}

// TestGradeKeepsItsThreshold: a threshold that rises does not end the alarm that
// stands, and when that has ended the new one counts.
func TestGradeKeepsItsThreshold(t *testing.T) {
	low, high := thresholds{0.1, 0.5, 0.2}, thresholds{0.3, 0.9, 0.2}
	now := low.next(0.6, standing{})
	for _, c := range []struct {
		th   thresholds
		p    float64
		want forestall.Grade
	}{
		{high, 0.6, forestall.Failing},
		{high, 0.41, forestall.Failing},
		{high, 0.39, forestall.Suspect}, // below 0.5 x 0.8: ended
		{high, 0.6, forestall.Suspect},  // 0.9 counts now
		{high, 0.95, forestall.Failing},
		{low, 0.45, forestall.Failing},
		{thresholds{2, 2, 0.2}, 0.41, forestall.Failing}, // nothing new alarms
		{thresholds{2, 2, 0.2}, 0.05, forestall.Healthy},
		{thresholds{2, 2, 0.2}, 0.99, forestall.Healthy},
	} {
		if now = c.th.next(c.p, now); now.grade != c.want {
			t.Fatalf("%v at %+v is %s, want %s", c.p, c.th, now.grade, c.want)
		}
	}
}

// TestGrade: a grade rises at once and falls only clearly below its threshold.
func TestGrade(t *testing.T) {
	th := thresholds{suspect: 0.1, failing: 0.5, hysteresis: 0.2}
	const h, s, f, u = forestall.Healthy, forestall.Suspect, forestall.Failing, forestall.Unknown
	for _, c := range []struct {
		p            float64
		before, want forestall.Grade
	}{
		{0, u, h},
		{0.0999, u, h},
		{0.1, h, s},
		{0.09, s, s},
		{0.09, f, s},
		{0.079, s, h},
		{0.079, f, h},
		{0.5, h, f},
		{0.41, f, f},
		{0.41, s, s},
		{0.39, f, s},
		{1, f, f},
	} {
		if got := th.grade(c.p, c.before); got != c.want {
			t.Errorf("%v after %s is %s, want %s", c.p, c.before, got, c.want)
		}
	}
}
