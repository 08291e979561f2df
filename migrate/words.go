package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stratoswarm/forestall"
)

// percent writes a probability with two decimals, as a percentage. What is
// not certain is never rounded to it.
func percent(p float64) string {
	switch {
	case p > 0 && p < .01:
		return "<1 %"
	case p < 1 && p >= .995:
		return ">99 %"
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}

// span writes a duration to the second without units that are zero: 2m, 1h30m.
// One below ten seconds keeps a digit.
func span(d time.Duration) string {
	to := time.Second
	if d.Abs() < 10*time.Second {
		to = 100 * time.Millisecond
	}
	s := d.Round(to).String()
	if short, ok := strings.CutSuffix(s, "m0s"); ok {
		s = short + "m"
	}
	if short, ok := strings.CutSuffix(s, "h0m"); ok {
		s = short + "h"
	}
	return s
}

// priced puts a price into words.
func priced(p forestall.Price) string {
	return fmt.Sprintf("expected to save %s GPU-seconds at a cost of %s", amount(p.Saves), amount(p.Costs))
}

func amount(v float64) string {
	switch {
	case v > 0 && v < .05:
		return "<0.1"
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// maxCauses is how many of the model's reasons a sentence gives.
const maxCauses = 3

// riskSentence says how likely a component fails, and why.
func riskSentence(r forestall.Risk) string {
	s := fmt.Sprintf("%s is %s: %s likely to fail within %s", r.Component, r.Grade, percent(r.Probability), span(r.Horizon))
	var causes []string
	for _, c := range r.Reasons {
		if len(causes) < maxCauses && c.Contribution > 0 && c.Text != "" {
			causes = append(causes, c.Text)
		}
	}
	if len(causes) > 0 {
		s += ", because " + strings.Join(causes, ", ")
	}
	return s
}

// sign is one thing that says that a node is failing.
type sign struct {
	component forestall.Component
	failed    bool           // for certain
	risk      forestall.Risk // if it has not
}

func (g sign) String() string {
	if g.failed {
		return fmt.Sprintf("%s has failed", g.component)
	}
	return riskSentence(g.risk)
}

// compareSigns puts the weightiest first.
func compareSigns(a, b sign) int {
	return cmp.Or(
		first(a.failed, b.failed),
		compareDesc(a.risk.Probability, b.risk.Probability),
		a.component.Compare(b.component),
	)
}

// sentences returns the signs in words, but for those of one component.
func sentences(signs []sign, but forestall.Component) []string {
	signs = slices.DeleteFunc(slices.Clone(signs), func(g sign) bool { return g.component == but })
	out := make([]string, len(signs))
	for i, g := range signs {
		out[i] = g.String()
	}
	return out
}
