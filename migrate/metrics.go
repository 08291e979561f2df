package migrate

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/stratoswarm/forestall"
)

// metrics count on the leader only: the sum over the nodes is the cluster's.
type metrics struct {
	recoveries *prometheus.CounterVec
	recovery   prometheus.Histogram
	migrations *prometheus.CounterVec
	underway   *prometheus.GaugeVec
	pauses     *prometheus.HistogramVec
	saves      *prometheus.CounterVec
	costs      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	seconds := []float64{.05, .1, .25, .5, 1, 1.5, 2.5, 5, 10, 30, 60, 150, 300}
	m := &metrics{
		recoveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_recoveries_total",
			Help: "Recoveries that ended, by result: success, gave_up or aborted.",
		}, []string{"result"}),
		recovery: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fault_tolerance_recovery_duration_seconds",
			Help:    "From the decision to recover until the workload ran again.",
			Buckets: seconds,
		}),
		migrations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_migrations_total",
			Help: "Moves that ended, by action and result: done, gave_up or aborted.",
		}, []string{"action", "result"}),
		underway: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fault_tolerance_migrations_open",
			Help: "Moves under way, by action and phase.",
		}, []string{"action", "phase"}),
		pauses: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fault_tolerance_migration_pause_seconds",
			Help:    "How long a moved workload did nothing, by action.",
			Buckets: seconds,
		}, []string{"action"}),
		saves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_action_estimated_savings_gpu_seconds_total",
			Help: "What the finished moves were expected to save, by action.",
		}, []string{"action"}),
		costs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fault_tolerance_action_estimated_costs_gpu_seconds_total",
			Help: "What the finished moves were expected to cost, by action.",
		}, []string{"action"}),
	}
	for _, result := range []string{"success", "gave_up", "aborted"} {
		m.recoveries.WithLabelValues(result)
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.recoveries, m.recovery, m.migrations, m.underway, m.pauses, m.saves, m.costs} {
		errs = append(errs, reg.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register migration metrics: %w", err)
	}
	return m, nil
}

// open shows the moves under way.
func (m *metrics) open(s *State) {
	m.underway.Reset()
	for _, o := range s.Open {
		m.underway.WithLabelValues(string(o.Action), string(o.Phase)).Inc()
	}
}

// applied counts the move that a command ended.
func (m *metrics) applied(s *State, c Command) {
	var id, result string
	switch c := c.(type) {
	case *Done:
		id, result = c.Migration, "done"
	case *Abort:
		id, result = c.Migration, "aborted"
	case *GiveUp:
		id, result = c.Migration, "gave_up"
	default:
		return
	}
	o, known := s.Migration(id)
	if !known {
		return
	}
	action := string(o.Action)
	m.migrations.WithLabelValues(action, result).Inc()
	if o.Action == forestall.ActionRecover {
		m.recovered(o, result)
	}
	if result == "done" {
		m.pauses.WithLabelValues(action).Observe(o.Pause.Seconds())
		m.saves.WithLabelValues(action).Add(max(o.Price.Saves, 0))
		m.costs.WithLabelValues(action).Add(max(o.Price.Costs, 0))
	}
}

func (m *metrics) recovered(o forestall.Migration, result string) {
	if result != "done" {
		m.recoveries.WithLabelValues(result).Inc()
		return
	}
	m.recoveries.WithLabelValues("success").Inc()
	took := o.At[forestall.PhaseDone].Sub(o.At[forestall.PhaseProposed])
	m.recovery.Observe(max(took, time.Duration(0)).Seconds())
}
