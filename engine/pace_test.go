package engine

import (
	"testing"
	"time"

	"github.com/stratoswarm/forestall"
	"github.com/stratoswarm/forestall/migrate"
)

func TestWorkloadMTBF(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	incident := func(kind forestall.Kind, name string, d time.Duration) forestall.Incident {
		return forestall.Incident{Component: forestall.Component{Kind: kind, Name: name}, Start: ago(d)}
	}
	for _, tc := range []struct {
		name      string
		started   time.Time
		restarts  int
		incidents []forestall.Incident
		want      time.Duration
	}{
		{"never ran", time.Time{}, 0, nil, 7 * day},
		{"ran for three weeks", ago(21 * day), 0, nil, 28 * day},
		{"just restarted for the third time", ago(0), 3, []forestall.Incident{incident(forestall.KindAgent, "w", 5*day)}, 3 * day},
		{"others' incidents", ago(7 * day), 1, []forestall.Incident{
			incident(forestall.KindAgent, "v", 99*day), incident(forestall.KindService, "w", 99*day), incident(forestall.KindNode, "w", 99*day),
		}, 7 * day},
	} {
		w := &migrate.WorkloadState{Spec: forestall.Workload{Name: "w", Kind: forestall.KindAgent}, Started: tc.started, Restarts: tc.restarts}
		if got := workloadMTBF(w, tc.incidents, now); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
