package predict

import (
	"fmt"
	"math"

	"github.com/stratoswarm/forestall/model"
)

// Threshold is a probability from which a component alarms, and why it is that.
type Threshold struct {
	At     float64 // above 1: nothing alarms
	Reason string  // in words
}

// medianOfNone is nearly the median of a rate's posterior after no event in unit
// time, under a flat prior: that of a gamma distribution of shape k+1 is k + 2/3.
const medianOfNone = 2.0 / 3

// BudgetThreshold returns the lowest threshold that keeps to so many alarms for
// each 1,000 component-days, judged by the alarms that each threshold would have
// raised in the time that was counted. It is a function of its arguments alone:
// engines with the same counts have the same threshold, after a restart too.
//
// It starts from fixed, the threshold without a budget. A higher one is taken
// where fixed has raised more alarms than the budget allows; one alarm is always
// allowed. A lower one is taken only where the counts show that it would have
// kept to the budget: its rate is at most the budget with even odds, (k+2/3)/E
// for k alarms in E component-days. So a fleet that was watched for an hour does
// not alarm at everything, and a calm one is not deaf at a probability that was
// made up.
//
// Where every threshold would have raised too many, nothing alarms until the
// window has moved on. What a single round of scores raises at once is not
// bounded: the threshold follows with the next round.
//
// The probabilities that were counted are those before their odds are multiplied by
// the factor odds (1: they are not), fixed and what is returned those after it: the
// counts of a model hold on when its odds are corrected anew.
func BudgetThreshold(c AlarmCounts, perThousand, fixed, odds float64) Threshold {
	level := func(i int) float64 { return timesOdds(levelAt(i), odds) }
	allowed := max(1, perThousand*c.ComponentDays/1000)
	start := max(0, levelsUpTo(timesOdds(fixed, 1/odds))-1) // the level at or below fixed: what that one raised, fixed may have raised
	say := func(at float64, alarms float64, how string) Threshold {
		return Threshold{at, fmt.Sprintf("%s: the budget of %g alarms for each 1,000 component-days allows %.4g in the %.4g that were counted, and %s would have raised %.0f",
			how, perThousand, allowed, c.ComponentDays, atLeast(at), alarms)}
	}
	for i := levels - 1; i >= start; i-- {
		if c.alarms(i) > allowed {
			if i == levels-1 {
				return Threshold{math.Inf(1), fmt.Sprintf("nothing alarms: the budget of %g alarms for each 1,000 component-days allows %.4g in the %.4g that were counted, and %.0f reached the highest threshold",
					perThousand, allowed, c.ComponentDays, c.alarms(i))}
			}
			return say(level(i+1), c.alarms(i+1), "raised")
		}
	}
	at := start + 1
	for at > 0 && (c.alarms(at-1)+medianOfNone)*1000 <= perThousand*c.ComponentDays {
		at--
	}
	if level(at) < fixed {
		return say(level(at), c.alarms(at), "lowered")
	}
	return Threshold{fixed, fmt.Sprintf("as configured: it keeps to the budget of %g alarms for each 1,000 component-days, and the %.4g that were counted do not show that a lower one would",
		perThousand, c.ComponentDays)}
}

// timesOdds leaves a probability whose odds stay as they are to the bit.
func timesOdds(p, factor float64) float64 {
	if factor == 1 {
		return p
	}
	return model.TimesOdds(p, factor)
}

func atLeast(p float64) string { return fmt.Sprintf("%.3g %%", 100*p) }
