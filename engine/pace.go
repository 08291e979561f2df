package engine

import (
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/checkpoint"
	"github.com/stratoswarm/forestall/migrate"
)

// mtbfBelieved is what a workload's mean time between failures is taken to be
// before it has run: one failure a week, as many clusters see per node of GPUs.
const mtbfBelieved = 7 * 24 * time.Hour

// failureRate says how often a workload fails, for the interval between its
// checkpoints. Failures that a prediction announces count as such only where
// predictions do take checkpoints.
func (e *Engine) failureRate(name string) (rate checkpoint.FailureRate) {
	e.ledger.View(func(s *migrate.State) {
		if w := s.Workloads[name]; w != nil {
			rate.MTBF = workloadMTBF(w, s.AllIncidents(), e.now())
		}
	})
	if e.cfg.Policy.Checkpoint == forestall.Act && e.telemetry != nil {
		rate.Recall = e.telemetry.judged.accuracy.Scores().Recall
	}
	return rate
}

// workloadMTBF estimates a workload's mean time between failures from the runs
// that a recovery brought, over the time since its present run began or, when
// that was earlier, since its first remembered incident.
func workloadMTBF(w *migrate.WorkloadState, incidents []forestall.Incident, now time.Time) time.Duration {
	since := w.Started
	for _, i := range incidents {
		if i.Component.Name == w.Spec.Name && i.Component.Kind == w.Spec.Kind && (since.IsZero() || i.Start.Before(since)) {
			since = i.Start
		}
	}
	if since.IsZero() {
		return mtbfBelieved
	}
	return checkpoint.EstimateMTBF(w.Restarts, now.Sub(since), mtbfBelieved)
}
