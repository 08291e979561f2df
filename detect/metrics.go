package detect

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/stratoswarm/forestall"
)

// Metrics are the package's figures. One value serves Members and Heartbeats of
// an engine.
type Metrics struct {
	failures  *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	beats     *prometheus.CounterVec
	beatBytes *prometheus.CounterVec
	members   *prometheus.GaugeVec
}

// NewMetrics registers the metrics; with a nil registerer they count for
// nobody. It panics if they are registered there already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	m := &Metrics{
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_failures_detected_total", Help: "Failures established, by kind.",
		}, []string{"kind"}),
		latency: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fault_tolerance_failure_detection_duration_seconds", Help: "Time from the last sign of life until the failure was established, by kind.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 12),
		}, []string{"kind"}),
		beats: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_heartbeats_received_total", Help: "Heartbeats of agents and services.",
		}, []string{"kind"}),
		beatBytes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_heartbeat_received_bytes_total", Help: "Bytes of heartbeats of agents and services, where known.",
		}, []string{"kind"}),
		members: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fault_tolerance_members", Help: "Members of the cluster as this node sees them, by state.",
		}, []string{"state"}),
	}
	for _, k := range []forestall.FailureKind{
		forestall.NodeCrash, forestall.AgentFailure, forestall.ServiceFailure, forestall.GPUFailure, forestall.NetworkPartition,
	} {
		m.failures.WithLabelValues(string(k))
	}
	m.setMembers(nil)
	return m
}

// Detected counts a failure. Call it once for each, where it is established for
// the cluster.
func (m *Metrics) Detected(f forestall.Failure) {
	m.failures.WithLabelValues(string(f.Kind)).Inc()
	if !f.LastSeen.IsZero() {
		m.latency.WithLabelValues(string(f.Kind)).Observe(max(0, f.Time.Sub(f.LastSeen).Seconds()))
	}
}

func (m *Metrics) beat(b Beat) {
	m.beats.WithLabelValues(b.Component.Kind.String()).Inc()
	m.beatBytes.WithLabelValues(b.Component.Kind.String()).Add(float64(max(0, b.Bytes)))
}

func (m *Metrics) setMembers(byState map[forestall.MemberState]int) {
	for _, s := range []forestall.MemberState{forestall.MemberAlive, forestall.MemberFailed, forestall.MemberLeft} {
		m.members.WithLabelValues(string(s)).Set(float64(byState[s]))
	}
}
