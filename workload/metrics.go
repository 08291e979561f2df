package workload

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	starts  *prometheus.CounterVec
	exits   *prometheus.CounterVec
	hooks   *prometheus.HistogramVec
	running prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_workload_starts_total",
			Help: "Starts of workloads on this node, by result: ok, refused (stale epoch, lease, still running), failed.",
		}, []string{"result"}),
		exits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_workload_exits_total",
			Help: "Runs that ended on this node; expected=\"true\" when Forestall stopped them.",
		}, []string{"expected"}),
		hooks: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fault_tolerance_hook_duration_seconds",
			Help:    "Time from a checkpoint hook's request to its acknowledgement or failure.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}, []string{"result"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fault_tolerance_workloads_running",
			Help: "Workloads alive on this node.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.starts, m.exits, m.hooks, m.running} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) hook(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.hooks.WithLabelValues(result).Observe(took.Seconds())
}
