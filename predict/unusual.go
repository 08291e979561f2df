package predict

import (
	"fmt"
	"math"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/features"
	"github.com/stratoswarm/forestall/predict/anomaly"
)

// Unwatched returns the metrics in which nothing is usual, because they grow all
// the time or are known to everyone: times since something, failures in the
// ledger, and what the scraping itself costs.
func Unwatched() map[string]bool {
	skip := map[string]bool{"node_uptime_seconds": true, features.MetricScrapeLatency: true}
	for _, kind := range []forestall.Kind{forestall.KindNode, forestall.KindGPU} {
		for _, m := range append(features.SetMetrics(kind, features.History), features.SetMetrics(kind, features.Cohort)...) {
			if m.Name != features.MetricXIDs && m.Name != features.MetricHardwareXIDs {
				skip[m.Name] = true
			}
		}
	}
	return skip
}

// AnomalyOf words how a component stands that is watched, at a time. What was not
// scraped for longer than stale is unknown: that says nothing about the component.
func AnomalyOf(s anomaly.Standing, cfg anomaly.LearnConfig, now time.Time, stale time.Duration) forestall.Anomaly {
	a := forestall.Anomaly{State: s.State, Score: s.Score, Threshold: s.Threshold, Since: s.Since}
	need := cfg.Needs()
	switch gap := now.Sub(s.Last); {
	case gap > stale:
		a = forestall.Anomaly{Score: math.NaN(), Threshold: s.Threshold, Note: fmt.Sprintf("its newest sample is %s old; more than %s is stale", gap.Round(time.Second), stale)}
	case math.IsNaN(s.Threshold) && s.Seen < need:
		a.Note = fmt.Sprintf("learning what is usual: %s of %s seen", daysOf(s.Seen), daysOf(need))
	case math.IsNaN(s.Threshold):
		a.Note = "learning what is usual: too few of the minutes seen could be judged"
	case math.IsNaN(s.Score):
		a.Note = "no metric that it knows was reported"
	case math.IsInf(s.Threshold, 1) && s.State == forestall.Usual:
		a.Note = fmt.Sprintf("even the greatest surprise came oftener than %.3g times a day: nothing counts as unusual until that is past", cfg.Alarms)
	}
	for _, d := range s.Deviations {
		if a.State == forestall.Unusual {
			a.Reasons = append(a.Reasons, Deviates(d))
		}
	}
	return a
}

func daysOf(d time.Duration) string { return fmt.Sprintf("%.1f days", d.Hours()/24) }

// Deviates words one metric that is not as usual: "memory temperature 96 °C,
// usually 71 ± 3 °C".
func Deviates(d anomaly.Deviation) string {
	w := wordsOf(d.Metric)
	if d.Metric == anomaly.MetricReported {
		w = words{label: "metrics reported:", unit: "%", scale: 100}
	}
	far := farFrom(d.Value, d.Mean, d.Spread)
	switch {
	case w.kind == onOff:
		return fmt.Sprintf("%s %s, usually %s", w.label, share(d.Value), share(d.Mean))
	case w.kind == events:
		return fmt.Sprintf("%s %s, usually %s%s", w.label, pace(d.Value), pace(d.Mean), far)
	case far == "":
		return fmt.Sprintf("%s %s, usually %s", w.label, w.value(d.Value), w.value(d.Mean))
	}
	return fmt.Sprintf("%s %s, usually %s ± %s%s", w.label, w.value(d.Value), w.amount(d.Mean*w.scale, ""), w.value(d.Spread), far)
}

// farFrom words a distance in standard deviations.
func farFrom(v, mean, spread float64) string {
	if spread <= 1e-3*math.Abs(mean) || spread <= 1e-3 && mean == 0 {
		return "" // it never moved; the number would say nothing
	}
	return fmt.Sprintf(" (%.0f standard deviations)", math.Abs(v-mean)/spread)
}

// share words how much of the time something is on.
func share(v float64) string {
	switch {
	case v <= 0.005:
		return "off"
	case v >= 0.995:
		return "on"
	}
	return words{}.amount(100*v, "%") + " of the time"
}

// pace words a rate per second in a unit that has digits before the point.
func pace(v float64) string {
	for _, u := range []struct {
		seconds float64
		name    string
	}{{1, "/s"}, {60, "/min"}, {3600, "/h"}, {24 * 3600, "/day"}} {
		if math.Abs(v)*u.seconds >= 1 {
			return words{}.amount(v*u.seconds, "") + u.name
		}
	}
	if v == 0 {
		return "none"
	}
	return "fewer than one a day"
}
