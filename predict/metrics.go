package predict

import (
	"github.com/prometheus/client_golang/prometheus"
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
	accuracyDesc = desc("prediction_accuracy",
		"Balanced accuracy of matured predictions: always saying no scores 0.5; NaN until both outcomes were seen.")
	precisionDesc = desc("prediction_precision_ratio",
		"Share of alarming predictions that a failure followed within the horizon.")
	recallDesc = desc("prediction_recall_ratio",
		"Share of the predictions within the horizon of a failure that alarmed.")
	brierDesc = desc("prediction_brier_score",
		"Mean squared error of the matured predictions' probabilities.")
	maturedDesc = desc("predictions_matured_total",
		"Predictions whose outcome is known.")
	falseAlarmsDesc = desc("false_alarms_total",
		"Alarms that ended, and whose horizon passed, without a failure.")
	caughtDesc = desc("failures_predicted_total",
		"Failures that an alarm preceded.")
)

func newLeadHistogram() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fault_tolerance_prediction_lead_time_seconds",
		Help:    "Time from the alarm to the failure that it announced.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 16), // 1 s to 9 h
	})
}

// Describe implements [prometheus.Collector].
func (s *Scorer) Describe(ch chan<- *prometheus.Desc) { ch <- riskDesc }

// Collect implements [prometheus.Collector] with the newest risks.
func (s *Scorer) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, r := range s.latest {
		ch <- prometheus.MustNewConstMetric(riskDesc, prometheus.GaugeValue, r.Probability, c.String(), c.Kind.String())
	}
}

// Describe implements [prometheus.Collector].
func (a *Accuracy) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		accuracyDesc, precisionDesc, recallDesc, brierDesc,
		maturedDesc, falseAlarmsDesc, caughtDesc, a.lead.Desc(),
	} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (a *Accuracy) Collect(ch chan<- prometheus.Metric) {
	s := a.Scores()
	for _, m := range []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value float64
	}{
		{accuracyDesc, prometheus.GaugeValue, s.Balanced},
		{precisionDesc, prometheus.GaugeValue, s.Precision},
		{recallDesc, prometheus.GaugeValue, s.Recall},
		{brierDesc, prometheus.GaugeValue, s.Brier},
		{maturedDesc, prometheus.CounterValue, float64(s.Matured)},
		{falseAlarmsDesc, prometheus.CounterValue, float64(s.FalseAlarms)},
		{caughtDesc, prometheus.CounterValue, float64(s.Caught)},
	} {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value)
	}
	ch <- a.lead
}
