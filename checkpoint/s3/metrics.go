package s3

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what a copier does.
type metrics struct {
	copies    *prometheus.CounterVec
	collected prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		copies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_offsite_copies_total",
			Help: "Off-site copies by workload and result: ok, failed (tried again), lost (gone or of an epoch that is over).",
		}, []string{"workload", "result"}),
		collected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fault_tolerance_offsite_collected_bytes_total",
			Help: "Bytes of off-site objects that this engine's GC removed.",
		}),
	}
}

var lagDesc = prometheus.NewDesc("fault_tolerance_offsite_lag_seconds",
	"For how long the off-site store has lacked the workload's newest checkpoint; 0 when it has it.", []string{"workload"}, nil)

// Describe implements [prometheus.Collector].
func (c *Copier) Describe(ch chan<- *prometheus.Desc) { ch <- lagDesc }

// Collect implements [prometheus.Collector].
func (c *Copier) Collect(ch chan<- prometheus.Metric) {
	now := c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for workload, j := range c.jobs {
		behind := 0.0
		if j.cp.ID != "" {
			behind = now.Sub(j.since).Seconds()
		}
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, behind, workload)
	}
}
