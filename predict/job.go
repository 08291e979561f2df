package predict

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// Domain says what a component shares causes of failure with: its node, or the
// zone of it. Components of one domain may fail together.
type Domain func(forestall.Component) string

// ByNode is the domain that a component's name tells.
func ByNode(c forestall.Component) string { return c.NodeName() }

// JointRisk returns the risk that at least one of the parts fails, as the risk of
// the component that needs them all: a job, or a node. Its probability takes the
// parts as independent: 1 - prod(1-p). Parts with longer horizons are brought to
// the shortest one at a constant hazard, p' = 1-(1-p)^(h/H).
//
// Parts share causes, so the risk comes with bounds (see [forestall.Bounds]).
// High is the sum of the probabilities, at most 1: no dependence can make it more
// (Boole's inequality, the upper bound of Fréchet 1935). Low takes the parts of
// one domain as failing together or not at all, comonotone, and the domains as
// independent: 1 - prod over domains of (1 - the largest p). Causes that are
// shared lower the probability that at least one fails, and raise that of many at
// once.
//
// The grade is the worst of the known parts', and Suspect from where Low reaches
// suspect on: many small risks add up to one that is worth a checkpoint, and Low so
// counts only what adds up however the parts of a domain fail together. Failing is
// said where a part is, since else there is nothing to move away from. A part that is not known is named
// in the note: the probability is a lower bound then, and a job of which nothing
// worse is known than healthy is Unknown. The reasons are the weightiest of the
// parts, each with its part's name before it.
func JointRisk(c forestall.Component, parts []forestall.Risk, domain Domain, suspect float64) forestall.Risk {
	var known []forestall.Risk
	var missing []string
	for _, r := range parts {
		if r.Grade == forestall.Unknown || math.IsNaN(r.Probability) {
			missing = append(missing, r.Component.String())
		} else {
			known = append(known, r)
		}
	}
	note := ""
	if len(missing) > 0 {
		note = "not known: " + strings.Join(missing, ", ")
	}
	if len(known) == 0 {
		if note == "" {
			note = "nothing is known of what it runs on"
		}
		return forestall.UnknownRisk(c, time.Time{}, note)
	}
	slices.SortStableFunc(known, func(a, b forestall.Risk) int { return cmp.Compare(b.Probability, a.Probability) })
	job := forestall.Risk{Component: c, Horizon: forestall.ShortestHorizon(known), Model: known[0].Model, Note: note}
	for _, r := range known {
		job.Grade = max(job.Grade, r.Grade)
		if r.Time.After(job.Time) {
			job.Time = r.Time
		}
		for _, reason := range r.Reasons {
			reason.Text = fmt.Sprintf("%s: %s", r.Component, reason.Text)
			job.Reasons = append(job.Reasons, reason)
		}
	}
	joint := anyOf(known, job.Horizon, domain)
	if joint.Low >= suspect {
		job.Grade = max(job.Grade, forestall.Suspect)
	}
	if len(missing) > 0 && job.Grade == forestall.Healthy {
		return forestall.UnknownRisk(c, job.Time, note)
	}
	job.Probability, job.Bounds = joint.independent, &joint.Bounds
	slices.SortStableFunc(job.Reasons, func(a, b forestall.Reason) int {
		return cmp.Compare(math.Abs(b.Contribution), math.Abs(a.Contribution))
	})
	job.Reasons = job.Reasons[:min(len(job.Reasons), jobReasons)]
	return job
}

// jobReasons bounds the reasons of a job, which has many parts.
const jobReasons = 5

// anyFails is the probability that at least one of several fails.
type anyFails struct {
	independent float64
	forestall.Bounds
}

// anyOf joins known risks over a horizon; see [JointRisk] for the bounds.
func anyOf(known []forestall.Risk, horizon time.Duration, domain Domain) anyFails {
	worst := map[string]float64{}
	survives, sum := 1.0, 0.0
	for _, r := range known {
		p := r.Within(horizon)
		survives *= 1 - p
		sum += p
		d := domain(r.Component)
		if d == "" {
			d = r.Component.String() // shares nothing that is known
		}
		worst[d] = max(worst[d], p)
	}
	apart := 1.0
	for _, d := range slices.Sorted(maps.Keys(worst)) { // products of floats depend on the order
		apart *= 1 - worst[d]
	}
	p := 1 - survives
	// Rounding may put one a hair above the other.
	return anyFails{p, forestall.Bounds{Low: min(1-apart, p), High: max(min(sum, 1), p)}}
}
