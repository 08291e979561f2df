package predict

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
)

// A Scorer and an Accuracy are collectors: register them where the metrics are
// served. What is not known is NaN.
var (
	_ prometheus.Collector = (*Scorer)(nil)
	_ prometheus.Collector = (*Accuracy)(nil)
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("fault_tolerance_"+name, help, labels, nil)
}

var (
	riskDesc = desc("risk_probability",
		"Probability that the component fails within its model's horizon; NaN when unknown.", "component", "kind")
	thresholdDesc = desc("alarm_threshold_probability",
		"Probability from which components of the kind have the grade; +Inf while nothing does.", "kind", "grade")
	unlikeScoreDesc = desc("unlike_score",
		"How unlike the component is to the ordinary operation that its model was trained on; NaN when nothing that it knows is reported.", "component", "kind")
	unlikeThresholdDesc = desc("unlike_threshold",
		"Score above which a component of the kind is unlike what its model was trained on.", "kind")
	unlikesDesc = desc("unlike_total",
		"Times that a component became unlike what its model was trained on.", "kind")
	accuracyDesc = desc("prediction_accuracy",
		"Balanced accuracy of the predictions that matured in the last 30 days: always saying no scores 0.5; NaN until both outcomes were seen.")
	precisionDesc = desc("prediction_precision_ratio",
		"Share of the alarming predictions of the last 30 days that a failure followed within the horizon.")
	recallDesc = desc("prediction_recall_ratio",
		"Share of the last 30 days' predictions within the horizon of a failure that alarmed.")
	brierDesc = desc("prediction_brier_score",
		"Mean squared error of the probabilities that matured in the last 30 days.")
	calibrationDesc = desc("prediction_calibration_ratio",
		"Failures that followed predictions of the last 30 days for each that their probabilities add up to; 1 is true.")
	maturedDesc = desc("predictions_matured_total",
		"Predictions whose outcome is known, by whether they alarmed and a failure followed.", "outcome")
	falseAlarmsDesc = desc("false_alarms_total",
		"Alarms that ended, and whose horizon passed, without a failure.")
	caughtDesc = desc("failures_predicted_total",
		"Failures that an alarm preceded.")
	failuresDesc = desc("failures_judged_total",
		"Failures of components that were judged before, announced or not.")
)

func newLeadHistogram() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fault_tolerance_prediction_lead_time_seconds",
		Help:    "Time from the alarm to the failure that it announced.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 16), // 1 s to 9 h
	})
}

// Describe implements [prometheus.Collector].
func (s *Scorer) Describe(ch chan<- *prometheus.Desc) {
	ch <- riskDesc
	ch <- thresholdDesc
	ch <- unlikeScoreDesc
	ch <- unlikeThresholdDesc
	ch <- unlikesDesc
}

// Collect implements [prometheus.Collector] with the newest risks.
func (s *Scorer) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, r := range s.latest {
		ch <- prometheus.MustNewConstMetric(riskDesc, prometheus.GaugeValue, r.Probability, c.String(), c.Kind.String())
	}
	for kind, j := range s.judges {
		t := j.thresholds
		ch <- prometheus.MustNewConstMetric(thresholdDesc, prometheus.GaugeValue, t.suspect, kind.String(), forestall.Suspect.String())
		ch <- prometheus.MustNewConstMetric(thresholdDesc, prometheus.GaugeValue, t.failing, kind.String(), forestall.Failing.String())
		if j.unlike != nil {
			j.unlike.collect(ch, kind)
		}
	}
}

// collect gives a figure of each component that is known.
func (u *unlike) collect(ch chan<- prometheus.Metric, kind forestall.Kind) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c, s := range u.stands {
		ch <- prometheus.MustNewConstMetric(unlikeScoreDesc, prometheus.GaugeValue, s.score, c.String(), kind.String())
	}
	ch <- prometheus.MustNewConstMetric(unlikeThresholdDesc, prometheus.GaugeValue, u.detector.Threshold(), kind.String())
	ch <- prometheus.MustNewConstMetric(unlikesDesc, prometheus.CounterValue, float64(u.begins), kind.String())
}

// Describe implements [prometheus.Collector].
func (a *Accuracy) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		accuracyDesc, precisionDesc, recallDesc, brierDesc, calibrationDesc,
		maturedDesc, falseAlarmsDesc, caughtDesc, failuresDesc, a.lead.Desc(),
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]: ratios of the last 30 days, which
// do not add up over engines, and counters since the beginning, which do.
func (a *Accuracy) Collect(ch chan<- prometheus.Metric) {
	s, recent := a.Scores(), a.Recent()
	for _, m := range []struct {
		desc   *prometheus.Desc
		kind   prometheus.ValueType
		value  float64
		labels []string
	}{
		{accuracyDesc, prometheus.GaugeValue, recent.Balanced, nil},
		{precisionDesc, prometheus.GaugeValue, recent.Precision, nil},
		{recallDesc, prometheus.GaugeValue, recent.Recall, nil},
		{brierDesc, prometheus.GaugeValue, recent.Brier, nil},
		{calibrationDesc, prometheus.GaugeValue, recent.Calibration(), nil},
		{maturedDesc, prometheus.CounterValue, float64(s.Of.TP), []string{"true_alarm"}},
		{maturedDesc, prometheus.CounterValue, float64(s.Of.FP), []string{"false_alarm"}},
		{maturedDesc, prometheus.CounterValue, float64(s.Of.TN), []string{"true_calm"}},
		{maturedDesc, prometheus.CounterValue, float64(s.Of.FN), []string{"missed"}},
		{falseAlarmsDesc, prometheus.CounterValue, float64(s.FalseAlarms), nil},
		{caughtDesc, prometheus.CounterValue, float64(s.Caught), nil},
		{failuresDesc, prometheus.CounterValue, float64(s.Failures), nil},
	} {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value, m.labels...)
	}
	ch <- a.lead
}
