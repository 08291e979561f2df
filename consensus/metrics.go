package consensus

import "github.com/prometheus/client_golang/prometheus"

// metrics are the node's figures, all under fault_tolerance_consensus_.
type metrics struct {
	reg        prometheus.Registerer
	registered []prometheus.Collector

	leaderChanges prometheus.Counter
	commits       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, n *Node) (*metrics, error) {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	m := &metrics{
		reg:           reg,
		leaderChanges: prometheus.NewCounter(prometheus.CounterOpts{Name: "fault_tolerance_consensus_leader_changes_total", Help: "Leaders that this node has seen take over."}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fault_tolerance_consensus_commit_duration_seconds",
			Help:    "Time from a proposal on this node until it was committed and applied here.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.leaderChanges,
		m.commits,
		gauge("fault_tolerance_consensus_applied_index", "Log index of the newest command that the state machine has taken in.", func() float64 { return float64(n.machine.applied.Load()) }),
		gauge("fault_tolerance_consensus_commit_index", "Log index of the newest entry known to be committed.", func() float64 { return float64(n.raft.CommitIndex()) }),
		gauge("fault_tolerance_consensus_term", "Raft term.", func() float64 { return float64(n.Term()) }),
		gauge("fault_tolerance_consensus_leader", "1 while this node believes that it leads.", func() float64 {
			if n.IsLeader() {
				return 1
			}
			return 0
		}),
	} {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

// unregister lets a node be opened again on the same registry.
func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.reg.Unregister(c)
	}
}
