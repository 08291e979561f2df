package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall/migrate"
)

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

// standing collects what is computed when it is asked for.
type standing struct{ *Engine }

var (
	ageDesc = prometheus.NewDesc("fault_tolerance_checkpoint_age_seconds",
		"Work that the workload would lose now: since its newest checkpoint, or its start. For those that run on this node.", []string{"workload"}, nil)
	buildDesc = prometheus.NewDesc("fault_tolerance_build_info", "Always 1.", []string{"version"}, nil)
)

// Describe implements [prometheus.Collector].
func (s standing) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ageDesc, buildDesc, certificateEnd, certificateStart} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (s standing) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(buildDesc, prometheus.GaugeValue, 1, s.version)
	s.collectCertificates(ch)
	s.ledger.View(func(state *migrate.State) {
		for _, name := range state.WorkloadNames() {
			if w := state.Workloads[name]; w.Running && w.Node == s.name {
				ch <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, s.checkpointAge(w).Seconds(), name)
			}
		}
	})
}
