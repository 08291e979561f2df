package predict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// JobRisk returns the risk that a workload loses at least one of the parts it
// runs on, taken as independent: 1 - prod(1-p). Parts with longer horizons are
// brought to the shortest one at a constant hazard, p' = 1-(1-p)^(h/H).
//
// The grade is the worst of the known parts'. A part that is not known is named
// in the note: the probability is a lower bound then, and a job of which nothing
// worse is known than healthy is Unknown. The reasons are the weightiest of the
// parts, each with its part's name before it.
func JobRisk(workload string, parts []forestall.Risk) forestall.Risk {
	c := forestall.Agent(workload)
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
	job := forestall.Risk{Component: c, Horizon: shortest(known), Model: known[0].Model, Note: note}
	survives := 1.0
	for _, r := range known {
		q := 1 - r.Probability
		if r.Horizon > job.Horizon {
			q = math.Pow(q, job.Horizon.Seconds()/r.Horizon.Seconds())
		}
		survives *= q
		job.Grade = max(job.Grade, r.Grade)
		if r.Time.After(job.Time) {
			job.Time = r.Time
		}
		for _, reason := range r.Reasons {
			reason.Text = fmt.Sprintf("%s: %s", r.Component, reason.Text)
			job.Reasons = append(job.Reasons, reason)
		}
	}
	if len(missing) > 0 && job.Grade == forestall.Healthy {
		return forestall.UnknownRisk(c, job.Time, note)
	}
	job.Probability = 1 - survives
	slices.SortStableFunc(job.Reasons, func(a, b forestall.Reason) int {
		return cmp.Compare(math.Abs(b.Contribution), math.Abs(a.Contribution))
	})
	job.Reasons = job.Reasons[:min(len(job.Reasons), jobReasons)]
	return job
}

// jobReasons bounds the reasons of a job, which has many parts.
const jobReasons = 5

// shortest returns the shortest horizon that is named.
func shortest(risks []forestall.Risk) (h time.Duration) {
	for _, r := range risks {
		if r.Horizon > 0 && (h == 0 || r.Horizon < h) {
			h = r.Horizon
		}
	}
	return h
}
