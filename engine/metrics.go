package engine

import "github.com/prometheus/client_golang/prometheus"

// metrics are the engine's own; each package registers its own beside them.
type metrics struct {
	samples       prometheus.Counter
	scrapeSeconds *prometheus.HistogramVec
	scrapeErrors  *prometheus.CounterVec
	epoch         *prometheus.GaugeVec
	leader        prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		samples: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fault_tolerance_samples_total",
			Help: "Telemetry samples taken into windows.",
		}),
		scrapeSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fault_tolerance_scrape_duration_seconds",
			Help:    "Time to read one component's telemetry.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"kind"}),
		scrapeErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_scrape_errors_total",
			Help: "Reads of a telemetry source that went wrong; says nothing about the hardware.",
		}, []string{"source"}),
		epoch: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fault_tolerance_workload_epoch",
			Help: "Epoch of the workloads that run on this node.",
		}, []string{"workload"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fault_tolerance_leader",
			Help: "1 while this engine leads the cluster.",
		}),
	}
	r.MustRegister(m.samples, m.scrapeSeconds, m.scrapeErrors, m.epoch, m.leader)
	return m
}
