package api

import (
	"math"
	"time"

	"github.com/stratoswarm/forestall"
)

// maxListed bounds the migrations, observed decisions and incidents of a snapshot; the endpoints
// give them all.
const maxListed = 50

// Snapshot is the state of the cluster in the compact form that the event
// stream sends. Reasons are given only where the grade asks for an answer.
type Snapshot struct {
	Status     Status                `json:"status"` // its Time is left out, so that time alone is no change
	Ready      bool                  `json:"ready"`
	NotReady   string                `json:"not_ready,omitempty"` // why
	Members    []forestall.Member    `json:"members"`             // LastSeen of those that are missed only, in whole seconds or, from one on, minutes
	Workloads  []WorkloadStatus      `json:"workloads"`
	Migrations []forestall.Migration `json:"migrations"` // the newest 50
	Observed   []forestall.Decision  `json:"observed"`   // the newest 50
	Incidents  []forestall.Incident  `json:"incidents"`  // the newest 50
	Risks      []RiskPoint           `json:"risks"`
	Injectable bool                  `json:"injectable"` // GPUs are simulated: /v1/sim/inject exists
}

// RiskPoint is a risk without its reasons' numbers.
type RiskPoint struct {
	Component   forestall.Component `json:"component"`
	Probability *float64            `json:"probability"` // 4 significant digits; null: unknown
	Grade       forestall.Grade     `json:"grade"`
	Note        string              `json:"note,omitempty"`
	Reasons     []string            `json:"reasons,omitempty"` // in words, at most 3, of suspect and failing components
	Unusual     []string            `json:"unusual,omitempty"` // what of it is unlike its own past, in words, at most 3
	Unlike      []string            `json:"unlike,omitempty"`  // what of it is unlike the training of its model, likewise
}

func (s *Server) snapshot() Snapshot {
	st := s.status()
	st.Time = time.Time{}
	st.Thresholds = nil // their reasons count component-days, which is time too
	if h := st.Fleet.Health; h != nil {
		st.Fleet.Health = Number(round4(*h))
	}
	if e := st.Fleet.Expected; e != nil {
		st.Fleet.Expected = Number(round2(*e))
	}
	ready, reason := s.cfg.Ready()
	snap := Snapshot{
		Status:     st,
		Ready:      ready,
		Members:    listOf(s.members()).Body,
		Workloads:  listOf(s.workloads()).Body,
		Migrations: listOf(first(s.migrations(), maxListed)).Body,
		Observed:   listOf(first(s.observed(), maxListed)).Body,
		Incidents:  listOf(first(s.incidents(), maxListed)).Body,
		Risks:      []RiskPoint{},
		Injectable: s.backend.Injector != nil,
	}
	if !ready {
		snap.NotReady = reason
	}
	for i, m := range snap.Members {
		switch {
		case m.State == forestall.MemberAlive || m.State == forestall.MemberLeft:
			snap.Members[i].LastSeen = 0
		case m.LastSeen < time.Minute:
			snap.Members[i].LastSeen = m.LastSeen.Truncate(time.Second)
		default:
			snap.Members[i].LastSeen = m.LastSeen.Truncate(time.Minute)
		}
	}
	for i := range snap.Workloads {
		// Its moment moves with every prediction; what it says moves seldom.
		snap.Workloads[i].Risk.Time = time.Time{}
		snap.Workloads[i].Risk.Reasons = first(snap.Workloads[i].Risk.Reasons, 3)
		snap.Workloads[i].Risk.Probability = round4(snap.Workloads[i].Risk.Probability)
	}
	for _, r := range s.sortedRisks() {
		snap.Risks = append(snap.Risks, pointOf(r))
	}
	return snap
}

func pointOf(r forestall.Risk) RiskPoint {
	p := RiskPoint{Component: r.Component, Grade: r.Grade, Note: r.Note}
	if r.Grade != forestall.Unknown && !math.IsNaN(r.Probability) {
		v := round4(r.Probability)
		p.Probability = &v
	}
	if r.Anomaly != nil && r.Anomaly.State == forestall.Unusual {
		p.Unusual = first(r.Anomaly.Reasons, 3)
	}
	if r.Unlike != nil && r.Unlike.State == forestall.Unusual {
		p.Unlike = first(r.Unlike.Reasons, 3)
	}
	if r.Grade == forestall.Suspect || r.Grade == forestall.Failing {
		for _, reason := range first(r.Reasons, 3) {
			p.Reasons = append(p.Reasons, reason.Text)
		}
	}
	return p
}

// round4 keeps 4 significant digits, NaN as it is.
func round4(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// round2 keeps 2 significant digits.
func round2(v float64) float64 {
	if v == 0 {
		return v
	}
	scale := math.Pow(10, 1-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

func first[T any](s []T, n int) []T {
	return s[:min(n, len(s))]
}
